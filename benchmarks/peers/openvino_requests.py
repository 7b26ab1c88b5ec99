"""Batches in OpenVINO, several requests at a time."""

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["outputs_of"]


def outputs_of(compiled: Any, batches: Sequence[np.ndarray]) -> np.ndarray:
    """Return a compiled model's only output, concatenated over the batches, whose requests share the cores."""
    import openvino  # noqa: PLC0415 - an optional peer, and a compiled model exists only if it is installed

    outputs: list[Any] = [None] * len(batches)

    def store(request: Any, number: int) -> None:
        outputs[number] = request.get_output_tensor().data.copy()

    requests = openvino.AsyncInferQueue(compiled)
    requests.set_callback(store)
    for number, batch in enumerate(batches):
        requests.start_async({0: batch}, number)
    requests.wait_all()
    return np.concatenate(outputs)
