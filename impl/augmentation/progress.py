"""A progress bar on terminals, and no output in logs."""

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

__all__ = ["progress"]

T = TypeVar("T")

DELAY = 2.0
"""Seconds until the bar appears; shorter work shows none."""


def progress(iterable: Iterable[T], total: int, unit: str = "row") -> Iterable[T]:
    """Yield from `iterable`; after `DELAY` seconds, and only on a terminal, show how much of `total` is done."""
    return tqdm(iterable, total=total, unit=unit, delay=DELAY, disable=None, leave=False)
