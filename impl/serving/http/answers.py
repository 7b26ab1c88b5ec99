"""From logits to what a client is told."""

from collections.abc import Sequence
from typing import Any

import torch

__all__ = ["predictions"]


def predictions(logits: torch.Tensor, labels: Sequence[str], top: int = 1) -> list[dict[str, Any]]:
    """Return the most probable class of each image, and with `top` above 1 as many under "top"."""
    probabilities, places = torch.softmax(logits, dim=1).topk(top, dim=1)
    found = []
    for likely, classes in zip(probabilities.tolist(), places.tolist(), strict=True):
        entries = [
            {"index": index, "label": labels[index], "probability": round(probability, 6)}
            for index, probability in zip(classes, likely, strict=True)
        ]
        found.append({**entries[0], "top": entries} if top > 1 else entries[0])
    return found
