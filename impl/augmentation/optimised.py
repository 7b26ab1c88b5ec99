"""Draft."""

from .config import Config
from .cores import usable_cores
from .dataset import Dataset

__all__ = ["build"]


def build(text: str, config: Config, seed: int = 7) -> Dataset:
    """Make `config.dataset_size` misspelled copies of `text` as rows of ids, and their labels.

    Raises:
        TypeError: `text` is not a str, or `seed` not an int.
        ValueError: `text` is too long, or `seed` is not in 0 .. 2**64 - 1.
    """
    from .rows import Rows  # noqa: PLC0415 - pool workers import this module, and Numba would cost each half a second

    rows = Rows(text, config.max_modifications, config.max_letter_count, seed)
    return Dataset(*rows.compute(0, config.dataset_size, usable_cores()))
