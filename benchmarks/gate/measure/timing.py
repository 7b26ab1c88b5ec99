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
# A thread that comes back from a sleep gets its core for a whole slice; one that never rests is put aside within
# a batch. Beside three busy processes on two cores, half of the paired ratios of 1.3 ms batches were within 5 % of one
# without a nap, and 90 % with one; longer naps than 0.5 ms were no better (AMD EPYC Turin (Zen 5), 2026-11-23).
NAP = 1e-4  # seconds, before each batch and not counted
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
    """Rest for a moment, and call `work` that many times; return the seconds this took and the last result."""
    result = None
    calls = itertools.repeat(None, iterations)
    time.sleep(NAP)
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
