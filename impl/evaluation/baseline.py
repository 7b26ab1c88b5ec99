"""One image at a time, as the obvious loop does it: convert to float, run the model, argmax, compare.

The tests check every other variant against this one.
"""

import torch
from torch import nn

from .contract import Evaluation, Evaluator, Images, Labels, checked, evaluating
from .model import normalised

__all__ = ["build"]


def build(model: nn.Module, device: str | torch.device = "cpu") -> Evaluator:
    """Return an evaluator of `model` on `device`; the model is moved there."""
    model = model.to(device)

    def evaluate(images: Images, labels: Labels) -> Evaluation:
        images, labels = checked(images, labels)
        predictions = []
        correct = 0
        with evaluating(model), torch.no_grad():
            for image, label in zip(images, labels, strict=True):
                prediction = model(normalised(image).to(device)).argmax(dim=1).item()
                predictions.append(prediction)
                if prediction == label.item():
                    correct += 1
        total = len(predictions)
        return Evaluation(torch.tensor(predictions), correct, total, correct / total)

    return evaluate
