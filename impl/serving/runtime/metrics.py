"""Prometheus metrics. Each application has its own registry, so that two can live in one process."""

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


class Metrics:
    """The metrics of one server."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        """Register the metrics; `waiting` returns the number of images in the queue."""
        self._registry = registry = CollectorRegistry()
        self._requests = Counter("serving_requests", "Requests by outcome", ["outcome"], registry=registry)
        self._seconds = Histogram(
            "serving_request_seconds",
            "From the request's arrival in the application to its answer",
            ["outcome"],
            registry=registry,
            buckets=SECONDS,
        )
        self._images = Counter("serving_images", "Images answered, by origin", ["origin"], registry=registry)
        self._batches = Histogram(
            "serving_batch_images", "Images in a forward pass", registry=registry, buckets=(1, 2, 4, 8, 16, 32, 64)
        )
        self._model = Histogram("serving_model_seconds", "A forward pass", registry=registry, buckets=SECONDS)
        self._queue = Histogram(
            "serving_queue_seconds",
            "From a request's arrival in the queue to its forward pass",
            registry=registry,
            buckets=SECONDS,
        )
        self._last = Gauge("serving_last_inference_timestamp_seconds", "When the model last ran", registry=registry)
        Gauge("serving_queue_images", "Images that wait", registry=registry).set_function(waiting)

    def refused(self, outcome: str) -> None:
        """Count a request that no application saw, by the status of its answer."""
        self._requests.labels(outcome).inc()

    def answered(self, outcome: str, seconds: float) -> None:
        """Count a request by the status of its answer."""
        self._requests.labels(outcome).inc()
        self._seconds.labels(outcome).observe(seconds)

    def predicted(self, *, model: int = 0, memory: int = 0) -> None:
        """Count images whose logits come from the model, and from the answer cache."""
        self._images.labels("model").inc(model)
        self._images.labels("memory").inc(memory)

    def ran(self, images: int, waited: Sequence[float], seconds: float) -> None:
        """Count a forward pass of so many images, and the seconds that each of its requests has waited for it."""
        self._batches.observe(images)
        self._model.observe(seconds)
        for wait in waited:
            self._queue.observe(wait)
        self._last.set_to_current_time()

    def value(self, name: str, **labels: str) -> float:
        """Return a sample by its name and labels; 0 if nothing was counted yet."""
        return self._registry.get_sample_value(name, labels) or 0.0

    def by_outcome(self, name: str) -> dict[str, float]:
        """Return the samples of a name by outcome."""
        samples = (sample for family in self._registry.collect() for sample in family.samples)
        return {sample.labels["outcome"]: sample.value for sample in samples if sample.name == name}

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._registry)
