"""Folds batch normalisation and the scaling of the pixels into the weights of the convolutions.

The folded weights are float64; `plans` rounds them once, to the precision of the kernel.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from .contract import CLASSES
from .model import FEATURES, FILTERS, POOLED, check_layers

__all__ = ["Folded", "fold"]

Doubles = NDArray[np.float64]


class Folded(NamedTuple):
    """The weights of two convolutions, each followed by a pool and a ReLU, and of a linear layer; all float64.

    Attributes:
        weights1: [9, 32], for pixels in 0 .. 255.
        bias1: [32].
        weights2: [9, 32, 64].
        bias2: [64].
        weights3: [1600, 10], for features in the order [position, channel].
        bias3: [10].
    """

    weights1: Doubles
    bias1: Doubles
    weights2: Doubles
    bias2: Doubles
    weights3: Doubles
    bias3: Doubles


def fold(model: nn.Module) -> Folded:
    """Fold the model, with batch normalisation as in evaluation mode.

    Raises:
        TypeError: `model` is not the network of `model.build`.
        ValueError: A weight has the wrong shape or dtype, or is not finite.
    """
    layers: Any = check_layers(model)
    weights1, bias1 = _normalised(layers[0], layers[1])
    weights2, bias2 = _normalised(layers[4], layers[5])
    # Pixels enter as x / 127.5 - 1. The convolution has no padding, so the same scale and shift apply everywhere.
    bias1 -= weights1.sum(axis=(1, 2, 3))
    weights1 /= 127.5
    first, second = FILTERS
    linear = _double(layers[10].weight).reshape(CLASSES, second, POOLED**2)
    return Folded(
        weights1.reshape(first, 9).T.copy(),
        bias1,
        weights2.reshape(second, first, 9).transpose(2, 1, 0).copy(),
        bias2,
        linear.transpose(2, 1, 0).reshape(FEATURES, CLASSES),
        _double(layers[10].bias),
    )


def _normalised(convolution: Any, norm: Any) -> tuple[Doubles, Doubles]:
    """Return the weights and bias of the one convolution that replaces `convolution` followed by `norm`."""
    scale = _double(norm.weight) / np.sqrt(_double(norm.running_var) + norm.eps)
    weights = _double(convolution.weight) * scale[:, None, None, None]
    return weights, (_double(convolution.bias) - _double(norm.running_mean)) * scale + _double(norm.bias)


def _double(tensor: Any) -> Doubles:
    values: Doubles = tensor.detach().cpu().numpy().astype(np.float64)
    return values
