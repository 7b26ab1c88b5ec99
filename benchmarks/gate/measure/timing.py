"""Time a callable in batches, with garbage collection, tracing and profiling off."""

import gc
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

LEAST_BATCH = 1e-3  # seconds; four orders above the clock's grain and the cost of the loop
# A thread that wakes from a sleep gets a whole time slice; one that never sleeps is preempted mid-batch. Beside three
# noisy neighbours on two cores, half of the paired ratios of 1.3 ms batches were within 5 % of one without a nap and
# 90 % with one. Naps longer than 0.5 ms were no better (AMD EPYC Turin (Zen 5), 2026-11-23).
NAP = 1e-4  # seconds, before each batch and not counted
LONGEST_BATCH = 0.25  # seconds; a few dozen pairs of longer batches would take too long

Work = Callable[[], Any]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Switch garbage collection, tracing and profiling off within the block.

    Two things cannot be paused and stay on: tools on sys.monitoring, such as coverage by default from Python 3.14, and
    cProfile up to Python 3.11, whose profiler sys.setprofile cannot restore.
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
    """Sleep for NAP, then call `work` that many times; return the seconds of the calls and the last result."""
    result = None
    calls = itertools.repeat(None, iterations)
    time.sleep(NAP)
    start = time.perf_counter_ns()
    for _ in calls:
        result = work()
    elapsed = time.perf_counter_ns() - start
    return max(elapsed, 1) / 1e9, result


def batch_size(reference: Work, candidate: Work) -> tuple[int, str]:
    """Return the number of calls per batch, and a note if the batches had to stay shorter than LEAST_BATCH."""
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
        # At most ten times as many: the first calls are slow and predict a thousand badly.
        iterations = min(most, 10 * iterations, math.ceil(1.1 * iterations * LEAST_BATCH / fast))
