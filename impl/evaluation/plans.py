"""Converts folded weights to the layouts and precisions that the kernels read."""

from typing import TypeVar

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import NDArray

from .contract import CLASSES
from .folding import Folded
from .kernel import LANES, BytePlan, FloatPlan
from .model import FEATURES, FILTERS

__all__ = ["byte_plan", "float_plan"]

LINE = 64
Number = TypeVar("Number", bound=np.generic)

PATCH = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
"""Winograd's filter transform G for F(2x2, 3x3)."""


def float_plan(folded: Folded) -> FloatPlan:
    """Return the weights of the float32 kernel, with the second convolution transformed by Winograd's G."""
    first, second = FILTERS
    taps = folded.weights2.reshape(3, 3, first * second)
    # G g G^T as two matrix products, because einsum takes ten times as long.
    rows = np.tensordot(PATCH, taps, 1)
    weights2 = np.tensordot(PATCH, rows, (1, 1)).swapaxes(0, 1).reshape(-1, first, second)
    weights3, bias3 = np.zeros((FEATURES, LANES)), np.zeros(LANES)
    weights3[:, :CLASSES], bias3[:CLASSES] = folded.weights3, folded.bias3
    return FloatPlan(
        _single(folded.weights1),
        _single(folded.bias1),
        _single(weights2),
        _single(folded.bias2),
        _single(weights3),
        _single(bias3),
        llvm.get_host_cpu_features().get("avx512f", False),
    )


def byte_plan(folded: Folded, plan: FloatPlan) -> BytePlan:
    """Return the weights of the int8 kernel: quantised convolutions, and the linear layer of the float32 plan.

    Every channel has its own scale. Pixels are in 0 .. 255, so the weights of the first layer bound its output. The
    output scale maps that bound to 255, so no value is clipped and no calibration images are needed. The scale of each
    input channel of the second layer is multiplied into the weights before they are rounded.
    """
    first, second = FILTERS
    step1 = _step(folded.weights1, (0,))
    rounded1 = np.rint(folded.weights1 / step1).reshape(3, 3, first).transpose(0, 2, 1)
    weights1 = np.zeros((2, 3, first, 4))
    for dx in (0, 1):
        weights1[dx, ..., dx : dx + 3] = rounded1
    most = np.maximum(folded.bias1 + 255 * np.maximum(rounded1 * step1[:, None], 0).sum(axis=(0, 2)), 0)
    unit = np.where(most > 0, most, 1) / 255
    weights2 = folded.weights2 * unit[:, None]
    step2 = _step(weights2, (0, 1))
    rounded2 = np.rint(weights2 / step2).reshape(9, first // 4, 4, second).swapaxes(2, 3)
    return BytePlan(
        _aligned(weights1, np.int8),
        _single(step1 / unit),
        _single(folded.bias1 / unit + 0.5),
        _aligned(rounded2, np.int8),
        _single(step2),
        plan.bias2,
        plan.weights3,
        plan.bias3,
    )


def _step(weights: NDArray[np.float64], axes: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the quantisation step of each output channel: its largest absolute weight maps to 127."""
    most = np.abs(weights).max(axis=axes)
    return np.where(most > 0, most, 1) / 127


def _single(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return _aligned(values, np.float32)


def _aligned(values: NDArray[np.float64], dtype: type[Number]) -> NDArray[Number]:
    """Return a copy aligned to a cache line, so that no vector load crosses two lines."""
    size = values.size * np.dtype(dtype).itemsize
    memory = np.empty(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    aligned = memory[start : start + size].view(dtype).reshape(values.shape)
    aligned[...] = values
    return aligned
