"""The vision transformer in OpenVINO, quantised to int8 by NNCF as its documentation says, in this process."""

import contextlib
import logging
import sys
import warnings
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from torch.export import Dim, export

from impl.shared.cache import cache_folder

from .onnx_export import batches_of
from .served_model import CALIBRATION, FloatModel, ServedModel, calibration
from .ways import Ways

__all__ = ["OpenvinoModel", "compiled", "ways"]

SIZES = 1, 2, 4, 8, 16, 32
"""Images of a request, where several requests share the cores."""
SERVED = 4
"""The fastest of them with 16 and with 64 images."""


@cache
def compiled() -> tuple[Any, Any]:
    """Return the model compiled for one request at a time, and for several.

    Quantisation takes one to three minutes, so its result is kept on disk.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both use what they or others have deprecated
        openvino, nncf = pytest.importorskip("openvino"), pytest.importorskip("nncf")
        model = FloatModel()
        versions = f"openvino-{openvino.__version__.partition('-')[0]}-nncf-{nncf.__version__}"
        path = cache_folder() / "peers" / f"{model.key}-{CALIBRATION}-{versions}.xml"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            openvino.save_model(_quantised(openvino, nncf, model), path)
        return tuple(
            openvino.compile_model(path, "CPU", {"PERFORMANCE_HINT": hint}) for hint in ("LATENCY", "THROUGHPUT")
        )


def _quantised(openvino: Any, nncf: Any, model: FloatModel) -> Any:
    logging.getLogger("nncf").setLevel(logging.ERROR)
    pictures = calibration(model.side)
    exported = export(model, (pictures[:2],), dynamic_shapes=({0: Dim("count", min=1, max=1024)},))
    with contextlib.redirect_stdout(sys.stderr):  # it draws its progress, and a server's output is its address
        # TRANSFORMER is what the documentation says for such models; the number of pictures is 300 unless it is given.
        return nncf.quantize(
            openvino.convert_model(exported),
            nncf.Dataset([picture[None].numpy() for picture in pictures]),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(pictures),
        )


def _at_once(pixels: np.ndarray) -> np.ndarray:
    """Use all cores for one request."""
    latency, _ = compiled()
    return np.asarray(latency(pixels)[0])


def _shared_out(pixels: np.ndarray, size: int) -> np.ndarray:
    """Give each core requests of its own."""
    import openvino  # noqa: PLC0415 - `compiled` has skipped the test where it is not installed

    _, throughput = compiled()
    batches = batches_of(pixels, size)
    results: list[Any] = [None] * len(batches)

    def store(request: Any, number: int) -> None:
        results[number] = request.get_output_tensor().data.copy()

    requests = openvino.AsyncInferQueue(throughput)
    requests.set_callback(store)
    for number, batch in enumerate(batches):
        requests.start_async({0: batch}, number)
    requests.wait_all()
    return np.concatenate(results)


def ways(images: torch.Tensor) -> Ways:
    """Return ways to compute the logits, float32 [N, classes], of images, uint8 [N, 3, side, side]."""
    compiled()
    pixels = images.numpy()
    sizes = [size for size in SIZES if size < len(pixels)]
    return {
        "one request": partial(_at_once, pixels),
        **{f"requests of {size}": partial(_shared_out, pixels, size) for size in sizes},
    }


class OpenvinoModel(ServedModel):
    """This model in a server."""

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Compute them in the ways that were fastest with one image and with 64."""
        pixels = images.numpy()
        return torch.from_numpy(_at_once(pixels) if len(pixels) == 1 else _shared_out(pixels, SERVED))
