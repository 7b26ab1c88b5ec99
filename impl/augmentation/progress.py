"""A progress bar for people, silence for logs."""

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

__all__ = ["progress"]

T = TypeVar("T")

DELAY = 2.0
"""Seconds until a bar shows: what is done sooner needs none."""


def progress(iterable: Iterable[T], total: int, unit: str = "row") -> Iterable[T]:
    """Pass `iterable` through; after `DELAY`, and on a terminal only, show how much of `total` is done."""
    return tqdm(iterable, total=total, unit=unit, delay=DELAY, disable=None, leave=False)
