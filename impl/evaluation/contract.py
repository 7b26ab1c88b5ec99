"""The types that every variant takes and returns, and the validation of its input."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

__all__ = [
    "CLASSES",
    "SIDE",
    "Evaluation",
    "Evaluator",
    "Images",
    "Labels",
    "checked",
    "evaluating",
    "only_cpu",
    "score",
]

SIDE = 28
CLASSES = 10

Images: TypeAlias = torch.Tensor | np.ndarray[Any, Any]
Labels: TypeAlias = torch.Tensor | np.ndarray[Any, Any]


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluator.

    Attributes:
        predictions: int64 [N], the class of each image.
        correct: The number of predictions that equal the label.
        total: N.
        accuracy: correct / total.
    """

    predictions: torch.Tensor
    correct: int
    total: int
    accuracy: float


Evaluator: TypeAlias = Callable[[Images, Labels], Evaluation]


def checked(images: Images, labels: Labels) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images, uint8 [N, 28, 28], and the labels, int64 [N], as contiguous tensors that share their memory.

    Both may be NumPy arrays or tensors. Data on another device, or not contiguous, is copied.

    Raises:
        TypeError: Either is neither an array nor a tensor, or has the wrong dtype.
        ValueError: A shape is wrong, N is 0, the lengths differ, or a label is not in 0 .. 9.
    """
    pixels = _tensor("images", images, torch.uint8)
    classes = _tensor("labels", labels, torch.int64)
    if pixels.ndim != 3 or pixels.shape[1:] != (SIDE, SIDE):
        raise ValueError(f"images must have the shape [N, {SIDE}, {SIDE}], not {list(pixels.shape)}")
    if classes.ndim != 1:
        raise ValueError(f"labels must have the shape [N], not {list(classes.shape)}")
    if len(pixels) == 0:
        raise ValueError("there are no images: accuracy is undefined for an empty set")
    if len(pixels) != len(classes):
        raise ValueError(f"there are {len(pixels):,} images and {len(classes):,} labels: one label per image is needed")
    least, greatest = (int(value) for value in torch.aminmax(classes))
    if least < 0 or greatest >= CLASSES:
        outside = torch.nonzero((classes < 0) | (classes >= CLASSES))[0, 0]
        raise ValueError(f"labels must be in 0 .. {CLASSES - 1}; label {int(outside)} is {int(classes[outside])}")
    return pixels, classes


def _tensor(name: str, values: Images | Labels, dtype: torch.dtype) -> torch.Tensor:
    kind = str(dtype).removeprefix("torch.")
    if isinstance(values, np.ndarray):
        if values.dtype != np.dtype(kind):
            raise TypeError(f"{name} must be {kind}, not {values.dtype}")
        if not values.flags.writeable or any(stride < 0 for stride in values.strides):
            values = values.copy()  # torch.from_numpy warns about read-only memory and refuses negative strides
        values = torch.from_numpy(values)
    if not isinstance(values, torch.Tensor):
        raise TypeError(f"{name} must be a NumPy array or a tensor, not {type(values).__name__}")
    if values.dtype != dtype:
        raise TypeError(f"{name} must be {kind}, not {str(values.dtype).removeprefix('torch.')}")
    return values.detach().cpu().contiguous()


def only_cpu(device: str | torch.device) -> None:
    """Reject any device but the CPU, for a variant that is written for the CPU.

    Raises:
        ValueError: `device` is not the CPU.
    """
    if torch.device(device).type != "cpu":
        raise ValueError(f"this variant is for the CPU; on {device} use a variant that torch runs, such as 'batched'")


def score(predictions: torch.Tensor, labels: torch.Tensor) -> Evaluation:
    """Compare the predictions, int64 [N], with the labels, int64 [N], and return the result."""
    correct, total = int((predictions == labels).sum()), len(labels)
    return Evaluation(predictions, correct, total, correct / total)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode within the block, and restore each module's own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
