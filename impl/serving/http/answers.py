"""From logits to predictions in JSON."""

from collections.abc import Sequence
from typing import Any

import torch

__all__ = ["predictions"]


def predictions(logits: torch.Tensor, labels: Sequence[str], top: int = 1) -> list[dict[str, Any]]:
    """Return the most probable class of each image; with `top` above 1, that many in its "top".

    Args:
        logits: float32 [N, classes].
        labels: The name of each class.
        top: How many classes to return, at most `len(labels)`.
    """
    probabilities, classes = torch.softmax(logits, dim=1).topk(top, dim=1)
    answers = []
    for row, indices in zip(probabilities.tolist(), classes.tolist(), strict=True):
        entries = [
            {"index": index, "label": labels[index], "probability": round(probability, 6)}
            for index, probability in zip(indices, row, strict=True)
        ]
        answers.append({**entries[0], "top": entries} if top > 1 else entries[0])
    return answers
