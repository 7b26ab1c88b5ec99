"""Work of a known length, for self-checks and calibration."""

import random
import time
from itertools import cycle, islice
from typing import Any

from .timing import Work

LENGTH = 500  # numbers to a list; sorting one takes some 15 us
# Different lists, which fit a core's cache. With 32 and more, the second built of two equal sides was 0.3 to 1.2 %
# faster for its whole life (AMD EPYC Turin (Zen 5), 2026-11-23): an unknown slowdown in work that must have none.
DIFFERENT = 8


def sorting(lists: int) -> Work:
    """Return work that sorts that many shuffled lists of floats: 5 % more lists are 5 % more work."""
    random_numbers = random.Random(lists)
    shuffled = [[random_numbers.random() for _ in range(LENGTH)] for _ in range(min(lists, DIFFERENT))]
    all_of_them = list(islice(cycle(shuffled), lists))

    def work() -> int:
        return sum(len(sorted(numbers)) for numbers in all_of_them)

    return work


def slowed(work: Work, share: float) -> Work:
    """Return `work`, each call of which takes longer by that share of its own time."""

    def slower() -> Any:
        start = time.perf_counter()
        result = work()
        end = time.perf_counter()
        until = end + share * (end - start)
        while time.perf_counter() < until:
            pass
        return result

    return slower
