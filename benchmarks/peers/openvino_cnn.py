"""The network in OpenVINO, in float32 on the CPU, with several requests in flight."""

import warnings
from functools import partial

import numpy as np
import pytest
from torch import nn

from .onnx_export import BATCHES, onnx_model
from .openvino_requests import outputs_of
from .ways import Ways, batches_of

__all__ = ["ways"]


def ways(model: nn.Module, images: np.ndarray) -> Ways:
    """Compile the model, and return one way per batch size to predict the classes of the images, int64 [N]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses functions of its own that it has deprecated
        openvino = pytest.importorskip("openvino")
    # float32, because by default it takes bfloat16 where the processor has it. The hint for throughput runs several
    # requests at a time.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}
    compiled = openvino.compile_model(openvino.Core().read_model(onnx_model(model)), "CPU", settings)

    def predict(size: int) -> np.ndarray:
        classes: np.ndarray = outputs_of(compiled, batches_of(images, size)).argmax(axis=1)
        return classes

    return {f"batches of {size}": partial(predict, size) for size in BATCHES}
