"""Seeded weights: random, except for the last layer, which is fitted to the means of ten classes of drawn pictures.

So the model distinguishes these with margins, as a trained one would.
"""

from typing import Any

import torch
from torch import nn

from ..config import CIFAR10
from .classifiers import builder
from .pictures import draw_pictures

__all__ = ["SEEDED", "seeded_weights"]

SEED = 7
# The name changes when the seeded weights do.
SEEDED = "seeded-7-1"
FITTED = 60  # pictures that the last layer is fitted to
MARGIN = 8.0  # between the logits of two classes, on average


def seeded_weights(name: str) -> dict[str, torch.Tensor]:
    """Make the seeded weights; the state of the global generator is restored."""
    make = builder(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = make(num_classes=len(CIFAR10)).eval()
    _fit_head(model)
    return {key: value.detach().contiguous() for key, value in model.state_dict().items()}


def _fit_head(model: nn.Module) -> None:
    """Set the last linear layer to a nearest-mean classifier of the drawn pictures, on its own inputs."""
    head = [module for module in model.modules() if isinstance(module, nn.Linear)][-1:]
    if not head or head[0].out_features != len(CIFAR10):
        return  # the last layer is a convolution; it keeps its random weights
    inputs: list[torch.Tensor] = []
    pictures, kinds = draw_pictures(FITTED, SEED)
    pixels = torch.nn.functional.interpolate(
        torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255, size=getattr(model, "image_size", 224), mode="bilinear"
    )
    with torch.inference_mode(), _recorded_inputs(head[0], inputs):
        for part in torch.split(pixels, 20):
            model(part)
    features = torch.cat(inputs).double()
    means = torch.stack([features[kinds == kind].mean(dim=0) for kind in range(len(CIFAR10))])
    centre = means.mean(dim=0)
    directions = means - centre
    directions *= MARGIN / (directions.square().sum(dim=1).mean() + 1e-12)
    with torch.no_grad():
        head[0].weight.copy_(directions)
        if head[0].bias is not None:
            head[0].bias.copy_(-(directions @ centre) - 0.5 * (directions * (means - centre)).sum(dim=1))


def _recorded_inputs(head: nn.Module, inputs: list[torch.Tensor]) -> Any:
    return head.register_forward_pre_hook(lambda _module, arguments: inputs.append(arguments[0].clone()))
