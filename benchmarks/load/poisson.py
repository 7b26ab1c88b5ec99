"""Requests at random times, and how many of them are late.

The times are a Poisson process, as requests of many people who do not know of each other are. Lateness comes in bursts:
one slow batch makes all late that wait behind it. A bet on single requests takes a quiet time for evidence about them
all: at a rate at which more than 1 % are late in the long run, it "proves" in most simulated runs that fewer are
(`tests/serving/test_load.py`). So a bet is on windows of a second or more, longer than a burst, and on their shares of
requests that are in time: a window is one observation, whatever happens in it. It takes 984 windows without any
late request to prove that at most 1 % are late, with an error of 0.1 %.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .clients import WrongAnswerError
from .open_loop import OpenLoop, Reply

__all__ = ["Window", "arrivals", "windows"]

LEAD_IN = 2.0  # seconds before the first window, in which the queue fills to its usual length
RECOGNISED = 0.97  # the least share of the pictures


@dataclass(frozen=True)
class Window:
    """The requests that were due in one window.

    Attributes:
        replies: In the order in which they were due.
    """

    replies: list[Reply]

    @cached_property
    def seconds(self) -> list[float]:
        """Return how long each took from when it was due; infinity for one that was refused."""
        return [reply.waited if reply.answer.status == 200 else math.inf for reply in self.replies]

    def in_time(self, bound: float) -> float:
        """Return the share of the requests that were answered within `bound` seconds; 1 of no requests."""
        return float(np.mean(np.asarray(self.seconds) <= bound)) if self.replies else 1.0


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Return random times from 0 to `seconds`, ascending, on average `rate` per second."""
    rng = np.random.default_rng(seed)
    count = rng.poisson(rate * seconds)
    return sorted(rng.uniform(0, seconds, count).tolist())


def windows(load: OpenLoop, rate: float, seed: int, *, seconds: float = 1.0, count: int = 30) -> Iterator[Window]:
    """Yield windows without end: `count` of `seconds` each that follow each other, after which the server rests.

    Raises:
        WrongAnswerError: Too few of the pictures were recognised.
    """
    while True:
        due = arrivals(rate, LEAD_IN + count * seconds, seed)
        replies = load.post(due)
        _check(replies)
        parts: list[list[Reply]] = [[] for _ in range(count)]
        for at, reply in zip(due, replies, strict=True):
            if at >= LEAD_IN:
                parts[min(int((at - LEAD_IN) / seconds), count - 1)].append(reply)
        yield from map(Window, parts)
        seed += 1


def _check(replies: list[Reply]) -> None:
    answered = [reply for reply in replies if reply.answer.status == 200]
    right = sum(reply.answer.body["predictions"][0]["index"] == reply.kind for reply in answered)
    if right < RECOGNISED * len(answered):
        raise WrongAnswerError(f"{right} of {len(answered)} pictures were recognised; {RECOGNISED:.0%} are required")
