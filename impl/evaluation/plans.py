"""Converts folded weights to the layouts and precisions that the kernels read."""

from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..shared.processor import features
from .contract import CLASSES
from .folding import Folded
from .kernel import LANES, FloatPlan, IntegerPlan
from .model import FEATURES, FILTERS

__all__ = ["byte_plan", "first_layer", "float_plan", "word_plan"]

LINE = 64
WORD, SUM = 2**15 - 1, 2**31 - 2**26
"""The greatest weight in 16 bits, and sum in 32; what rounding of the weights adds to a sum is less than the rest."""
Floats: TypeAlias = NDArray[np.float64]
Number = TypeVar("Number", bound=np.generic)

PATCH = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
"""Winograd's filter transform G for F(2x2, 3x3)."""


def float_plan(folded: Folded) -> FloatPlan:
    """Return the weights of the float32 kernel, with the second convolution transformed by Winograd's G."""
    weights3, bias3 = np.zeros((FEATURES, LANES)), np.zeros(LANES)
    weights3[:, :CLASSES], bias3[:CLASSES] = folded.weights3, folded.bias3
    return FloatPlan(
        _single(folded.weights1),
        _single(folded.bias1),
        _single(_transformed(folded.weights2)),
        _single(folded.bias2),
        _single(weights3),
        _single(bias3),
        "avx512f" in features(),
    )


def byte_plan(folded: Folded, plan: FloatPlan) -> IntegerPlan:
    """Return the weights of the int8 kernel: quantised convolutions, and the linear layer of the float32 plan.

    Every channel has its own scale. Pixels are in 0 .. 255, so the weights of the first layer bound its output. The
    output scale maps that bound to 255, so no value is clipped and no calibration images are needed. The scale of each
    input channel of the second layer is multiplied into the weights before they are rounded.
    """
    first, second = FILTERS
    taps, step1, unit = first_layer(folded)
    weights1 = np.zeros((2, 3, first, 4))
    for dx in (0, 1):
        weights1[dx, ..., dx : dx + 3] = taps.transpose(0, 2, 1)
    weights2 = folded.weights2 * unit[:, None]
    step2 = _step(weights2, (0, 1))
    rounded2 = np.rint(weights2 / step2).reshape(9, first // 4, 4, second).swapaxes(2, 3)
    scales = step1 / unit, folded.bias1 / unit + 0.5
    return _integer_plan(_aligned(weights1, np.int8), scales, _aligned(rounded2, np.int8), step2, plan)


def word_plan(folded: Folded, plan: FloatPlan) -> IntegerPlan:
    """Return the weights of the int16 kernel: the first layer of `byte_plan`, and Winograd's for the second.

    The step of an output channel is such that its greatest transformed weight fits 16 bits, and no sum of its products
    with activations of 255 exceeds 32 bits.
    """
    first, second = FILTERS
    taps, step1, unit = first_layer(folded)
    weights1 = np.zeros((5, first, 2))
    weights1[:3] = np.stack([taps[0], taps[1]], axis=-1)
    weights1[3], weights1[4, :, 0] = taps[2, :2].T, taps[2, 2]
    weights2 = folded.weights2 * unit[:, None]
    transformed = _transformed(weights2)
    total = 255 * np.maximum(*(np.maximum(sign * weights2, 0).sum(axis=(0, 1)) for sign in (1, -1)))
    most = np.maximum(np.abs(transformed).max(axis=(0, 1)) / WORD, total / SUM)
    step2 = np.where(most > 0, most, 1)
    words = np.rint(transformed / step2).reshape(-1, first // 2, 2, second).swapaxes(2, 3)
    scales = step1 / unit, folded.bias1 / unit + 0.5
    return _integer_plan(_aligned(weights1, np.int16), scales, _aligned(words, np.int16), step2, plan)


def _integer_plan(
    weights1: NDArray[Any], scales: tuple[Floats, Floats], weights2: NDArray[Any], step2: Floats, plan: FloatPlan
) -> IntegerPlan:
    """Return the plan with these convolutions, and the linear layer of the float32 plan."""
    scale1, offset1 = map(_single, scales)
    return IntegerPlan(weights1, scale1, offset1, weights2, _single(step2), plan.bias2, plan.weights3, plan.bias3)


def first_layer(folded: Folded) -> tuple[Floats, Floats, Floats]:
    """Return the first layer's quantised taps [3, 3, 32] and their steps, and the step of what it returns, [32]."""
    step = _step(folded.weights1, (0,))
    taps = np.rint(folded.weights1 / step).reshape(3, 3, -1)
    most = np.maximum(folded.bias1 + 255 * np.maximum(taps * step, 0).sum(axis=(0, 1)), 0)
    return taps, step, np.where(most > 0, most, 1) / 255


def _transformed(weights: Floats) -> Floats:
    """Return Winograd's G g G^T, [16, inputs, outputs], of [9, inputs, outputs]."""
    _, inputs, outputs = weights.shape
    # As two matrix products, because einsum takes ten times as long.
    rows = np.tensordot(PATCH, weights.reshape(3, 3, inputs * outputs), 1)
    return np.tensordot(PATCH, rows, (1, 1)).swapaxes(0, 1).reshape(-1, inputs, outputs)


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
