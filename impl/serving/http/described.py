"""What the server says of its model by the Open Inference Protocol: metadata, configuration and statistics.

Configuration and statistics are Triton's extensions "model_configuration" and "statistics", as `tritonclient` reads
them.
"""

from typing import Any

from ..runtime.service import Service
from .tensors import DTYPES, INPUT, OUTPUT

__all__ = ["EXTENSIONS", "VERSION", "configuration", "metadata", "statistics"]

EXTENSIONS = ("binary_tensor_data", "model_configuration", "statistics")
VERSION = "1"  # of the model: there is one


def metadata(service: Service) -> dict[str, Any]:
    """Return the names, types and shapes of the tensors.

    Raises:
        Refusal: There is no model yet; so below.
    """
    return {
        "name": service.config.model,
        "versions": [VERSION],
        "platform": "pytorch",
        "inputs": [{"name": INPUT, "datatype": next(iter(DTYPES)), "shape": [-1, -1, -1, 3]}],
        "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, len(service.prepared.labels)]}],
    }


def configuration(service: Service) -> dict[str, Any]:
    """Return the configuration: the tensors without the dimension of the batch, and how batches are made."""
    config = service.config
    return {
        "name": config.model,
        "platform": "pytorch",
        "backend": "",
        "max_batch_size": config.max_batch,
        "input": [{"name": INPUT, "data_type": f"TYPE_{next(iter(DTYPES))}", "dims": [-1, -1, 3]}],
        "output": [{"name": OUTPUT, "data_type": "TYPE_FP32", "dims": [len(service.prepared.labels)]}],
        "instance_group": [{"name": config.model, "kind": "KIND_CPU", "count": 1}],
        "dynamic_batching": {"max_queue_delay_microseconds": round(1e3 * config.max_wait_ms)},
        "parameters": {"precision": {"string_value": service.prepared.precision}},
    }


def statistics(service: Service) -> dict[str, Any]:
    """Return what was counted since the start, all endpoints together.

    An "inference" is an image, an "execution" a forward pass. A request that the answer cache answered did not wait and
    is not in "queue". Copies to and from a device do not exist, and sizes of batches are in /metrics.
    """
    metrics = service.metrics
    counts, seconds = (metrics.by_outcome(f"serving_request_seconds_{what}") for what in ("count", "sum"))
    failed = {outcome: count for outcome, count in counts.items() if outcome != "200"}
    hits = metrics.value("serving_images_total", origin="memory")
    ran = metrics.value("serving_images_total", origin="model")
    return {
        "name": service.config.model,
        "version": VERSION,
        "last_inference": round(1e3 * metrics.value("serving_last_inference_timestamp_seconds")),
        "inference_count": round(ran + hits),
        "execution_count": round(metrics.value("serving_model_seconds_count")),
        "inference_stats": {
            "success": _duration(counts.get("200", 0.0), seconds.get("200", 0.0)),
            "fail": _duration(sum(failed.values()), sum(seconds[outcome] for outcome in failed)),
            "queue": _duration(*(metrics.value(f"serving_queue_seconds_{what}") for what in ("count", "sum"))),
            "compute_input": _duration(0, 0),
            "compute_infer": _duration(*(metrics.value(f"serving_model_seconds_{what}") for what in ("count", "sum"))),
            "compute_output": _duration(0, 0),
            "cache_hit": _duration(hits, 0),
            "cache_miss": _duration(ran if service.answer_cache.limit else 0, 0),
        },
        "batch_stats": [],
    }


def _duration(count: float, seconds: float) -> dict[str, int]:
    return {"count": round(count), "ns": round(1e9 * seconds)}
