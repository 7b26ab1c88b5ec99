"""Small pictures of ten kinds: waves of ten directions and colours, each with a phase and noise of its own.

They stand in for CIFAR-10 where a model has to have something to tell apart: random weights see no difference between
images of pure noise, and a server that mixes up its answers would not be noticed.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["KINDS", "SIDE", "draw_pictures"]

KINDS = 10
SIDE = 32


def draw_pictures(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return pictures, uint8 [count, 32, 32, 3], and their kinds, int64 [count], in turn; a seed's own."""
    random = np.random.default_rng(seed)
    kinds = np.arange(count) % KINDS
    colours = np.random.default_rng(KINDS).uniform(20, 235, (2, KINDS, 3))  # a kind's own, whatever the seed
    angles = kinds * (np.pi / KINDS) + random.normal(0, 0.05, count)
    places = np.arange(SIDE) / SIDE
    along = np.cos(angles)[:, None, None] * places + np.sin(angles)[:, None, None] * places[:, None]
    waves = 2 + kinds % 3
    phase = random.uniform(0, 2 * np.pi, count)
    share = (0.5 + 0.5 * np.sin(2 * np.pi * waves[:, None, None] * along + phase[:, None, None]))[..., None]
    pictures = share * colours[0, kinds][:, None, None] + (1 - share) * colours[1, kinds][:, None, None]
    pictures += random.normal(0, 12, pictures.shape)
    return np.clip(pictures, 0, 255).astype(np.uint8), kinds
