"""Drawn pictures of ten classes: stripes with a direction and two colours per class, and a random phase and noise.

They stand in for CIFAR-10. Random weights give nearly the same answer for all pictures of pure noise, so that a server
which swaps answers would go undetected; the seeded weights are fitted to these classes and tell them apart.
"""

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["KINDS", "SIDE", "draw_pictures", "drawn"]

KINDS = 10
SIDE = 32


def draw_pictures(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return pictures, uint8 [count, 32, 32, 3], and their classes, int64 [count], in turn; equal for equal seeds."""
    random = np.random.default_rng(seed)
    kinds = np.arange(count) % KINDS
    colours = np.random.default_rng(KINDS).uniform(20, 235, (2, KINDS, 3))  # a class has the same for every seed
    angles = kinds * (np.pi / KINDS) + random.normal(0, 0.05, count)
    axis = np.arange(SIDE) / SIDE
    distance = np.cos(angles)[:, None, None] * axis + np.sin(angles)[:, None, None] * axis[:, None]
    waves = 2 + kinds % 3
    phase = random.uniform(0, 2 * np.pi, count)
    share = (0.5 + 0.5 * np.sin(2 * np.pi * waves[:, None, None] * distance + phase[:, None, None]))[..., None]
    pictures = share * colours[0, kinds][:, None, None] + (1 - share) * colours[1, kinds][:, None, None]
    pictures += random.normal(0, 12, pictures.shape)
    return np.clip(pictures, 0, 255).astype(np.uint8), kinds


def drawn(count: int, seed: int, side: int) -> torch.Tensor:
    """Return drawn pictures as a model takes them, enlarged: uint8 [count, 3, side, side]."""
    pictures = torch.from_numpy(draw_pictures(count, seed)[0]).permute(0, 3, 1, 2)
    enlarged = torch.nn.functional.interpolate(pictures.float(), size=side, mode="bilinear")
    return enlarged.round().clamp(0, 255).to(torch.uint8)
