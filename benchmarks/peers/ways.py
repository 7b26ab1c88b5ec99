"""The shape that peers of the in-process cases share.

Each module has a function `ways(...)`. It prepares, and returns every reasonable way to do the task with that library:
a dict of descriptions to callables without arguments. `fastest` picks one, so that a peer is compared at its best. A
library that is not installed skips the test.
"""

import time
from collections.abc import Callable, Mapping
from typing import TypeAlias

__all__ = ["Ways", "fastest", "seconds"]

Ways: TypeAlias = Mapping[str, Callable[[], object]]


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
