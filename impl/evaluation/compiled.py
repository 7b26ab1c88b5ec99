"""DOC"""

import shutil
import warnings
from typing import Any

import torch
from torch import nn

from .contract import Evaluation, Evaluator, Images, Labels, UnsupportedError, checked, evaluating, score
from .model import normalised

__all__ = ["BATCH", "build", "missing"]

BATCH = 250


def missing() -> str | None:
    """Return why this machine cannot run the variant, or None."""
    if not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
        return "torch.compile needs a C++ compiler, and there is none"
    return None


def build(model: nn.Module, device: str | torch.device = "cpu") -> Evaluator:
    """Return an evaluator of the model's present weights on `device`, which is where the model is moved.

    Raises:
        UnsupportedError: There is no C++ compiler.
    """
    if reason := missing():
        raise UnsupportedError(reason)
    model = model.to(device)

    def predict(images: torch.Tensor) -> torch.Tensor:
        return model(normalised(images).contiguous(memory_format=torch.channels_last)).argmax(dim=1)

    run: Any = torch.compile(predict, dynamic=False, options={"freezing": True})

    def evaluate(images: Images, labels: Labels) -> Evaluation:
        images, labels = checked(images, labels)
        padded = torch.nn.functional.pad(images, (0, 0, 0, 0, 0, -len(images) % BATCH))
        # torch's own compiler uses what Python and torch have deprecated.
        with warnings.catch_warnings(), evaluating(model), torch.no_grad():
            warnings.simplefilter("ignore")
            predictions = torch.cat([run(batch.to(device)).cpu() for batch in padded.split(BATCH)])
        return score(predictions[: len(images)], labels)

    return evaluate
