"""Time a callable in batches, with nothing of ours running beside it."""

import gc
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

LEAST_BATCH = 1e-3  # seconds; four orders above the clock's grain and the cost of the loop
LONGEST_BATCH = 0.25  # seconds; were the slower side's batches longer, a few dozen pairs would be a long wait

Work = Callable[[], Any]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Switch garbage collection, tracing and profiling off within the block.

    Two things stay on, as there is no way to pause them: what runs on sys.monitoring, as coverage does by default from
    Python 3.14, and cProfile up to Python 3.11, whose profiler cannot be put back with sys.setprofile.
    """
    collecting, tracer, profiler = gc.isenabled(), sys.gettrace(), sys.getprofile()
    pausable = callable(profiler)
    gc.disable()
    sys.settrace(None)
    if pausable:
        sys.setprofile(None)
    try:
        yield
    finally:
        sys.settrace(tracer)
        if pausable:
            sys.setprofile(profiler)
        if collecting:
            gc.enable()


def time_batch(work: Work, iterations: int) -> tuple[float, Any]:
    """Call `work` that many times; return the seconds this took and the last result."""
    result = None
    calls = itertools.repeat(None, iterations)
    start = time.perf_counter_ns()
    for _ in calls:
        result = work()
    elapsed = time.perf_counter_ns() - start
    return max(elapsed, 1) / 1e9, result


def calibrate(reference: Work, candidate: Work) -> tuple[int, str]:
    """Return how many calls make a batch, and a note where the batches had to stay shorter than they should be."""
    iterations = 1
    while True:
        with undisturbed():
            fast, slow = sorted(time_batch(work, iterations)[0] for work in (reference, candidate))
        if fast >= LEAST_BATCH:
            return iterations, ""
        most = int(iterations * LONGEST_BATCH / slow)
        if most <= iterations:
            return iterations, (
                f"the faster side's batches take {fast * 1e6:.0f} us and not {LEAST_BATCH * 1e3:.0f} ms, because with "
                f"more calls than {iterations} the slower side's would take over {LONGEST_BATCH} s"
            )
        # Ten at a time at most: the first calls are slow, and would be a bad guess for a thousand.
        iterations = min(most, 10 * iterations, math.ceil(1.1 * iterations * LEAST_BATCH / fast))
