"""A TensorDataset and a DataLoader with batches of 64: the usual first attempt.

Faster than one image at a time because the overhead of a call is the same for 64 images as for one.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .contract import Evaluation, Evaluator, Images, Labels, checked, evaluating, score
from .model import normalised

__all__ = ["build"]

BATCH = 64


def build(model: nn.Module, device: str | torch.device = "cpu") -> Evaluator:
    """Return an evaluator of `model` on `device`; the model is moved there."""
    model = model.to(device)

    def evaluate(images: Images, labels: Labels) -> Evaluation:
        images, labels = checked(images, labels)
        loader = DataLoader(TensorDataset(normalised(images), labels), batch_size=BATCH)
        with evaluating(model), torch.no_grad():
            predictions = torch.cat([model(batch.to(device)).argmax(dim=1).cpu() for batch, _ in loader])
        return score(predictions, labels)

    return evaluate
