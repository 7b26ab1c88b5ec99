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

from .openvino_requests import outputs_of
from .served_model import CALIBRATION, FloatModel, ServedModel, calibration
from .ways import Ways, batches_of

__all__ = ["OpenvinoModel", "compiled", "ways"]

SIZES = 1, 2, 4, 8, 16, 32
"""Images of a request, where several requests share the cores."""
SERVED = 16
"""The most images of a request in a server: the fastest were 4 with 8 images, 8 with 16, and 16 with 64."""


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
    _, throughput = compiled()
    return outputs_of(throughput, batches_of(pixels, size))


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
        """Compute them in the way that was fastest with so many images."""
        pixels = images.numpy()
        size = min(SERVED, len(pixels) // 2)
        return torch.from_numpy(_shared_out(pixels, size) if size else _at_once(pixels))
