"""Run work a few times, and note what it returns and how long it takes at least.

Imports nothing but the standard library, see `compare.work`.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from .shape import Part, Shape, either, shape_of

CALLS = 5  # at least, unless that takes too long
MOST_CALLS = 200
LEAST_SECONDS = 0.1  # of all calls: short ones are repeated, as the least of many varies less
MOST_SECONDS = 2.0  # after which no further call begins; one is always made


Timed: TypeAlias = Callable[[], tuple[Any, float]]  # a call's result and its seconds


@dataclass(frozen=True)
class Observation:
    """What work did.

    Attributes:
        shape: of its results.
        seconds: of the fastest call, after one that warms up. Noise only adds to it.
        calls: how many there were.
    """

    shape: Shape
    seconds: float
    calls: int

    def or_other(self, other: "Observation") -> "Observation":
        """Return one observation of what was observed twice."""
        shape = either(self.shape, other.shape)
        return Observation(shape, min(self.seconds, other.seconds), self.calls + other.calls)

    def to_dict(self) -> dict[str, Any]:
        """Return it in JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Observation":
        """Return what `to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: It is something else.
        """
        shape = {
            place: Part(part["kind"], tuple(part["least"]), tuple(part["greatest"]), part["text"])
            for place, part in data["shape"].items()
        }
        return cls(shape, float(data["seconds"]), int(data["calls"]))


def timed(work: Callable[[], Any]) -> Timed:
    """Return work that is timed in this process."""

    def call() -> tuple[Any, float]:
        start = time.perf_counter()
        result = work()
        return result, time.perf_counter() - start

    return call


def observe(work: Timed) -> Observation:
    """Call work to warm it up, and then a few times. What it raises propagates."""
    shape = shape_of(work()[0])
    least, total, calls = math.inf, 0.0, 0
    while not calls or (total < MOST_SECONDS and (calls < CALLS or (total < LEAST_SECONDS and calls < MOST_CALLS))):
        result, seconds = work()
        least, total, calls = min(least, seconds), total + seconds, calls + 1
        shape = either(shape, shape_of(result))
        del result  # or two are in memory during the next call
    return Observation(shape, least, calls)
