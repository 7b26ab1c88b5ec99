"""From logits to predictions in JSON."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from .errors import ServingError

__all__ = ["predictions", "probabilities_of"]


def probabilities_of(logits: torch.Tensor) -> torch.Tensor:
    """Return the probabilities, float32 [N, classes], which add up to 1 in each row.

    Args:
        logits: float32 [N, classes].

    Raises:
        ServingError: 422, some are not finite, or their sum is not. Finite but extreme images overflow in the model.
    """
    if not math.isfinite(logits.sum().item()):  # one operation instead of two, and finite only if all logits are
        raise ServingError(422, "the model has no finite answer for these images: their numbers are too large for it")
    return torch.softmax(logits, dim=1)


def predictions(logits: torch.Tensor, labels: Sequence[str], top: int = 1) -> list[dict[str, Any]]:
    """Return the most probable class of each image; with `top` above 1, that many in its "top".

    Args:
        logits: float32 [N, classes].
        labels: The name of each class.
        top: How many classes to return, at most `len(labels)`.

    Raises:
        ServingError: 422, as `probabilities_of`.
    """
    probabilities, classes = probabilities_of(logits).topk(top, dim=1)
    answers = []
    for row, indices in zip(probabilities.tolist(), classes.tolist(), strict=True):
        entries = [
            {"index": index, "label": labels[index], "probability": round(probability, 6)}
            for index, probability in zip(indices, row, strict=True)
        ]
        answers.append({**entries[0], "top": entries} if top > 1 else entries[0])
    return answers
