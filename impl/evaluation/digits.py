"""A digit set that needs no download: images of ten digits in several sizes, distorted, shifted, faded and noisy.

It is written in MNIST's file format, so that torchvision's MNIST loader reads it.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import map_coordinates

from ..shared.cache import write_whole
from .contract import CLASSES, SIDE

__all__ = ["draw_digits", "write_digits"]

FONT_SIZES = 18, 20, 22, 24, 26
CHUNK = 2_000  # images distorted at a time; bounds the memory for their coordinates


def draw_digits(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw `count` digits: images, uint8 [count, 28, 28], and labels, int64 [count]. The seed determines both."""
    random = np.random.default_rng(seed)
    templates = _templates()
    labels = random.integers(0, CLASSES, count)
    images = np.empty((count, SIDE, SIDE), np.uint8)
    for start in range(0, count, CHUNK):
        part = slice(start, start + CHUNK)
        images[part] = _distorted(
            templates[random.integers(0, len(FONT_SIZES), len(labels[part])), labels[part]], random
        )
    return images, labels


def write_digits(folder: Path, train: int, test: int, seed: int) -> None:
    """Write a training and a test set into `folder` under MNIST's file names."""
    for offset, (name, count) in enumerate((("train", train), ("t10k", test))):
        images, labels = draw_digits(count, seed + offset)
        _write_idx(folder / f"{name}-images-idx3-ubyte", images)
        _write_idx(folder / f"{name}-labels-idx1-ubyte", labels.astype(np.uint8))


def _templates() -> NDArray[np.float32]:
    """Return each digit in each size, centred in its image: float32 [sizes, 10, 28, 28], in 0 .. 255."""
    drawn = np.empty((len(FONT_SIZES), CLASSES, SIDE, SIDE), np.float32)
    for row, size in enumerate(FONT_SIZES):
        font = ImageFont.load_default(size=size)
        for digit in range(CLASSES):
            canvas = Image.new("L", (SIDE, SIDE))
            ImageDraw.Draw(canvas).text((SIDE / 2, SIDE / 2), str(digit), fill=255, font=font, anchor="mm")
            drawn[row, digit] = np.asarray(canvas)
    return drawn


def _distorted(images: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.uint8]:
    """Rotate, shear, scale, shift and fade each image by its own random amounts, and add noise."""
    count = len(images)
    angle = random.uniform(-0.35, 0.35, count)
    shear = random.uniform(-0.3, 0.3, count)
    wide, high = random.uniform(0.75, 1.25, (2, count))
    cosine, sine = np.cos(angle), np.sin(angle)
    # Maps each pixel of the new image, relative to the centre, to the point of the old image whose value it takes.
    matrix = np.array([[cosine / wide, (shear - sine) / wide], [sine / high, (cosine + shear * sine) / high]])
    centre = (SIDE - 1) / 2
    y, x = np.mgrid[:SIDE, :SIDE] - centre
    shift = random.uniform(-2.5, 2.5, (2, count, 1, 1))
    old_x, old_y = (
        row[0][:, None, None] * x + row[1][:, None, None] * y + moved + centre
        for row, moved in zip(matrix, shift, strict=True)
    )
    faded = random.uniform(0.5, 1.0, (count, 1, 1))
    noise = random.normal(0, 28, (count, SIDE, SIDE))
    return np.clip(_interpolated(images, old_y, old_x) * faded + noise, 0, 255).astype(np.uint8)


def _interpolated(images: NDArray[np.float32], y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sample each image at its own points by linear interpolation; points outside are black."""
    image = np.broadcast_to(np.arange(len(images))[:, None, None], y.shape)
    values: NDArray[np.float64] = map_coordinates(
        images, (image, y, x), output=np.float64, order=1, mode="grid-constant"
    )
    return values


def _write_idx(path: Path, values: NDArray[np.uint8]) -> None:
    header = np.array([0x0800 | values.ndim, *values.shape], dtype=">u4").tobytes()
    write_whole(path, lambda file: file.write(header + values.tobytes()))
