"""The network, its cost in FLOPs, and the check that a model is this network."""

from collections import OrderedDict

import torch
from torch import nn

from .contract import CLASSES, SIDE

__all__ = ["FLOPS", "build", "check_layers", "normalised"]

FILTERS = 32, 64
POOLED = 5  # the side of the second pool's output: 28 -> 26 -> 13 -> 11 -> 5
FEATURES = FILTERS[1] * POOLED**2

# The second pool uses 10 of its 11 input rows. These need 12 of the first pool's 13 output rows, hence 24 of 26 rows.
KEPT = 24, 10

FLOPS = 2 * (KEPT[0] ** 2 * FILTERS[0] * 9 + KEPT[1] ** 2 * FILTERS[1] * FILTERS[0] * 9 + FEATURES * CLASSES)
"""Additions and multiplications per image, by the definition of the layers; discarded rows and columns do not count.

4.05 million: 0.33 in the first convolution, 3.69 in the second, 0.03 in the linear layer.
"""

LAYERS = (
    nn.Conv2d,
    nn.BatchNorm2d,
    nn.ReLU,
    nn.MaxPool2d,
    nn.Conv2d,
    nn.BatchNorm2d,
    nn.ReLU,
    nn.MaxPool2d,
    nn.Flatten,
    nn.Dropout,
    nn.Linear,
)


def build() -> nn.Sequential:
    """Return the network with randomly initialised weights: float32 [N, 1, 28, 28] in -1 .. 1 to logits [N, 10]."""
    first, second = FILTERS
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, first, 3),
            norm1=nn.BatchNorm2d(first),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(first, second, 3),
            norm2=nn.BatchNorm2d(second),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            dropout=nn.Dropout(0.0),
            linear=nn.Linear(FEATURES, CLASSES),
        )
    )


def normalised(images: torch.Tensor) -> torch.Tensor:
    """Convert images, uint8 [N, 28, 28], to the network's input: float32 [N, 1, 28, 28] in -1 .. 1."""
    return images.float().div_(127.5).sub_(1).view(-1, 1, SIDE, SIDE)


def check_layers(model: nn.Module) -> nn.Sequential:
    """Return the model if it is the network of `build`, for variants that support no other.

    Raises:
        TypeError: It is a different network.
        ValueError: A weight has the wrong shape or dtype, or is not finite.
    """
    if not isinstance(model, nn.Sequential) or tuple(map(type, model)) != LAYERS:
        names = ", ".join(layer.__name__ for layer in LAYERS)
        raise TypeError(f"this variant computes one network only, an nn.Sequential of {names}")
    with torch.device("meta"):  # shapes and dtypes only
        expected = build().state_dict()
    weights = model.state_dict()
    for name, tensor in expected.items():
        if name not in weights or weights[name].shape != tensor.shape or weights[name].dtype != tensor.dtype:
            raise ValueError(f"{name} must be {tensor.dtype} {list(tensor.shape)}")
        if not torch.isfinite(weights[name]).all():
            raise ValueError(f"{name} is not finite")
    return model
