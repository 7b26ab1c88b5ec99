"""The network in ONNX Runtime, in float32 on the CPU."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from .onnx_export import BATCHES, onnx_model
from .ways import Ways, batches_of

__all__ = ["ways"]


def ways(model: nn.Module, images: np.ndarray) -> Ways:
    """Load the model, and return one way per batch size to predict the classes of the images, int64 [N]."""
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(onnx_model(model), options, providers=["CPUExecutionProvider"])

    def predict(size: int) -> np.ndarray:
        logits = [session.run(None, {"images": batch})[0] for batch in batches_of(images, size)]
        return np.concatenate([batch.argmax(axis=1) for batch in logits])

    return {f"batches of {size}": partial(predict, size) for size in BATCHES}
