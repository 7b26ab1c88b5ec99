"""The images: MNIST if its files exist, otherwise the digit set of `digits`; torchvision's loader reads both.

`python -m impl.evaluation.data` downloads MNIST into the cache folder; nothing else in this module uses the network.
"""

import os
import sys
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from ..shared.cache import cache_folder
from .digits import write_digits

__all__ = ["ROOT_VARIABLE", "Data", "data_root", "describe_data", "load_data"]

ROOT_VARIABLE = "MNIST_ROOT"
Data: TypeAlias = tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]

DIGITS_SEED = 7
DIGITS_TRAIN, DIGITS_TEST = 20_000, 10_000
# Increase the last number when the code that draws the digits changes.
DIGITS = f"digits-{DIGITS_SEED}-1"

FILES = {
    "train-images-idx3-ubyte": 3,
    "train-labels-idx1-ubyte": 1,
    "t10k-images-idx3-ubyte": 3,
    "t10k-labels-idx1-ubyte": 1,
}


def load_data(root: str | Path | None = None) -> Data:
    """Return ((train images, train labels), (test images, test labels)): uint8 [N, 28, 28] and int64 [N] each.

    Args:
        root: The folder that holds MNIST/raw/*-ubyte. Default: `data_root()`.

    Raises:
        FileNotFoundError: `root` was given, or $MNIST_ROOT is set, and a file does not exist.
        ValueError: A file is damaged; the message names it and the remedy.
    """
    root = data_root() if root is None else Path(root)
    for name, dimensions in FILES.items():
        _check_idx(raw_folder(root) / name, dimensions)
    from torchvision.datasets import MNIST  # noqa: PLC0415 - the import takes 3 s and is needed only here

    train, test = (MNIST(str(root), train=part) for part in (True, False))
    return (train.data, train.targets), (test.data, test.targets)


def data_root() -> Path:
    """Return the folder with the data: $MNIST_ROOT, a download of MNIST in the cache folder, or the digit set.

    The first call that needs the digit set draws it, which takes some seconds.
    """
    if chosen := os.environ.get(ROOT_VARIABLE):
        return Path(chosen)
    downloaded = cache_folder() / "mnist"
    if all((raw_folder(downloaded) / name).exists() for name in FILES):
        return downloaded
    drawn = cache_folder() / DIGITS
    if not all((raw_folder(drawn) / name).exists() for name in FILES):
        write_digits(raw_folder(drawn), DIGITS_TRAIN, DIGITS_TEST, DIGITS_SEED)
    return drawn


def raw_folder(root: Path) -> Path:
    """Return where torchvision's loader looks for the files."""
    return root / "MNIST" / "raw"


def describe_data(root: Path | None = None) -> str:
    """Return the name of the data, without its path."""
    return "the project's digit set" if (root or data_root()).name == DIGITS else "MNIST"


def _check_idx(path: Path, dimensions: int) -> None:
    """Reject a file with a wrong header or length, because torchvision's own errors do not name the file."""
    advice = "delete it, so that it is created again, or replace it with a good copy"
    try:
        with path.open("rb") as file:
            header = np.frombuffer(file.read(4 + 4 * dimensions), dtype=">u4")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} does not exist: MNIST's files, unpacked, belong in {path.parent}; "
            f"without ${ROOT_VARIABLE} and --mnist-root the project's own digit set is used"
        ) from None
    except ValueError:
        header = np.empty(0, dtype=">u4")
    if len(header) != 1 + dimensions or header[0] != 0x0800 | dimensions:
        raise ValueError(
            f"{path} is damaged: it does not begin like an IDX file of {dimensions} dimension(s); {advice}"
        )
    expected = 4 + 4 * dimensions + int(np.prod(header[1:].astype(np.int64)))
    size = path.stat().st_size
    if size != expected:
        raise ValueError(f"{path} is damaged: it has {size:,} bytes, but its header implies {expected:,}; {advice}")


if __name__ == "__main__":
    from torchvision.datasets import MNIST

    MNIST(str(cache_folder() / "mnist"), download=True)
    sys.stdout.write(f"MNIST is in {cache_folder() / 'mnist'}\n")
