"""A digit set that needs no network: ten digits in several sizes, bent, shifted, faded and noisy.

Written in MNIST's own files, so that MNIST's own loader reads them.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..shared.cache import write_whole
from .contract import CLASSES, SIDE

__all__ = ["draw_digits", "write_digits"]

FONT_SIZES = 18, 20, 22, 24, 26
CHUNK = 2_000  # images that are bent at a time, so that the coordinates stay small


def draw_digits(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw `count` digits: images, uint8 [count, 28, 28], and labels, int64 [count]. The same seed gives the same."""
    random = np.random.default_rng(seed)
    drawn = _templates()
    labels = random.integers(0, CLASSES, count)
    images = np.empty((count, SIDE, SIDE), np.uint8)
    for start in range(0, count, CHUNK):
        part = slice(start, start + CHUNK)
        images[part] = _bent(drawn[random.integers(0, len(FONT_SIZES), len(labels[part])), labels[part]], random)
    return images, labels


def write_digits(folder: Path, train: int, test: int, seed: int) -> None:
    """Write a training and a test set into `folder` under the names that MNIST's files have."""
    for offset, (name, count) in enumerate((("train", train), ("t10k", test))):
        images, labels = draw_digits(count, seed + offset)
        _write_idx(folder / f"{name}-images-idx3-ubyte", images)
        _write_idx(folder / f"{name}-labels-idx1-ubyte", labels.astype(np.uint8))


def _templates() -> NDArray[np.float32]:
    """Return each digit in each size, in the middle of its image: float32 [sizes, 10, 28, 28] in 0 .. 255."""
    drawn = np.empty((len(FONT_SIZES), CLASSES, SIDE, SIDE), np.float32)
    for row, size in enumerate(FONT_SIZES):
        font = ImageFont.load_default(size=size)
        for digit in range(CLASSES):
            canvas = Image.new("L", (SIDE, SIDE))
            ImageDraw.Draw(canvas).text((SIDE / 2, SIDE / 2), str(digit), fill=255, font=font, anchor="mm")
            drawn[row, digit] = np.asarray(canvas)
    return drawn


def _bent(images: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.uint8]:
    """Rotate, shear, scale, shift and fade each image on its own, and add noise."""
    count = len(images)
    angle = random.uniform(-0.35, 0.35, count)
    shear = random.uniform(-0.3, 0.3, count)
    wide, high = random.uniform(0.75, 1.25, (2, count))
    cosine, sine = np.cos(angle), np.sin(angle)
    # From a place in the new image, seen from its middle, to the place in the old one that it shows.
    matrix = np.array([[cosine / wide, (shear - sine) / wide], [sine / high, (cosine + shear * sine) / high]])
    middle = (SIDE - 1) / 2
    y, x = np.mgrid[:SIDE, :SIDE] - middle
    shift = random.uniform(-2.5, 2.5, (2, count, 1, 1))
    old_x, old_y = (
        row[0][:, None, None] * x + row[1][:, None, None] * y + moved + middle
        for row, moved in zip(matrix, shift, strict=True)
    )
    faded = random.uniform(0.5, 1.0, (count, 1, 1))
    noise = random.normal(0, 28, (count, SIDE, SIDE))
    return np.clip(_sample(images, old_y, old_x) * faded + noise, 0, 255).astype(np.uint8)


def _sample(images: NDArray[np.float32], y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Read each image at its own places, with weights by distance; outside is black."""
    edged = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    y, x = np.clip(y + 1, 0, SIDE + 0.999), np.clip(x + 1, 0, SIDE + 0.999)
    top, left = y.astype(np.int64), x.astype(np.int64)
    down, right = y - top, x - left
    image = np.arange(len(images))[:, None, None]
    upper = edged[image, top, left] * (1 - right) + edged[image, top, left + 1] * right
    lower = edged[image, top + 1, left] * (1 - right) + edged[image, top + 1, left + 1] * right
    return upper * (1 - down) + lower * down


def _write_idx(path: Path, values: NDArray[np.uint8]) -> None:
    header = np.array([0x0800 | values.ndim, *values.shape], dtype=">u4").tobytes()
    write_whole(path, lambda file: file.write(header + values.tobytes()))
