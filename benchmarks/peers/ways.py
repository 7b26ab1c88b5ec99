"""The shape that peers of the in-process cases share.

Each module has a function `ways(...)`. It prepares, and returns every reasonable way to do the task with that library:
a dict of descriptions to callables without arguments. `fastest` picks one, so that a peer is compared at its best. A
library that is not installed skips the test.
"""

import time
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

__all__ = ["Ways", "batches_of", "fastest", "seconds"]

Ways: TypeAlias = Mapping[str, Callable[[], object]]


def batches_of(images: np.ndarray, size: int) -> list[np.ndarray]:
    """Split the images into batches; the last one may be smaller."""
    return [images[start : start + size] for start in range(0, len(images), size)]


def fastest(ways: Ways) -> tuple[str, Callable[[], object]]:
    """Run each way twice, and return the one with the fastest second run, with its description."""
    name = min(ways, key=lambda name: seconds(ways[name]))
    return name, ways[name]


def seconds(work: Callable[[], object]) -> float:
    """Return how long the second of two calls takes."""
    work()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
