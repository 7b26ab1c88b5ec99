"""Time a callable in batches on two clocks, with tracing and profiling off."""

import gc
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from .clocks import children_seconds, own_seconds

LEAST_BATCH = 1e-3  # seconds; four orders above the clock's grain and the cost of the loop
# A thread that wakes from a sleep gets a whole time slice; one that never sleeps is preempted mid-batch. Beside three
# noisy neighbours on two cores, half of the paired ratios of 1.3 ms batches were within 5 % of one without a nap and
# 90 % with one. Naps longer than 0.5 ms were no better (AMD EPYC Turin (Zen 5), 2026-11-23).
NAP = 1e-4  # seconds, before each batch and not counted
LONGEST_BATCH = 0.25  # seconds; a few dozen pairs of longer batches would take too long

Work = Callable[[], Any]


@dataclass(frozen=True)
class Batch:
    """One batch: the seconds of its calls by the wall clock and by the CPU clock, and the last call's result."""

    wall: float
    cpu: float
    result: Any


class Side(Protocol):
    """What a duel measures: in this process, or in another one."""

    def call(self) -> Any:
        """Call the work once, untimed, and return its result."""

    def batch(self, iterations: int) -> Batch:
        """Call the work that many times."""


@dataclass(frozen=True)
class InProcess:
    """Work in this process.

    Attributes:
        work: takes no arguments.
        collects: whether garbage collection stays on during a batch, so that work that makes garbage pays for it. If
            so, garbage is collected before the batch; see `settled_memory`.
    """

    work: Work
    collects: bool = False

    def call(self) -> Any:
        """Call the work once, untimed, and return its result."""
        return self.work()

    def batch(self, iterations: int) -> Batch:
        """Call the work that many times."""
        if self.collects:
            gc.collect()
        with undisturbed(collects=self.collects):
            return time_batch(self.work, iterations)


@contextmanager
def settled_memory() -> Iterator[None]:
    """Exempt everything alive from garbage collection within the block, so that collecting costs microseconds there.

    Within another such block it does nothing: leaving the inner one would end the outer one's exemption.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def undisturbed(*, collects: bool = False) -> Iterator[None]:
    """Switch tracing and profiling off within the block, and garbage collection unless the work `collects`.

    Two things cannot be paused and stay on: tools on sys.monitoring, such as coverage by default from Python 3.14, and
    cProfile up to Python 3.11, whose profiler sys.setprofile cannot restore.
    """
    collecting, tracer, profiler = gc.isenabled(), sys.gettrace(), sys.getprofile()
    pausable = callable(profiler)
    if not collects:
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


def time_batch(work: Work, iterations: int) -> Batch:
    """Sleep for NAP, then call `work` that many times, and wait for what it started on a GPU."""
    result = None
    calls = itertools.repeat(None, iterations)
    wait_for_gpus()  # or the batch before would take its time here
    time.sleep(NAP)
    children, own = children_seconds(), own_seconds()
    start = time.perf_counter_ns()
    for _ in calls:
        result = work()
    wait_for_gpus()
    elapsed = time.perf_counter_ns() - start
    cpu = own_seconds() - own  # before the children's, so that reading those is not counted
    return Batch(max(elapsed, 1) / 1e9, cpu + children_seconds() - children, result)


def wait_for_gpus() -> None:
    """Wait until the GPUs that this process uses by torch are idle: a call returns when its work there is queued."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None and cuda.is_initialized():
        for device in range(cuda.device_count()):
            cuda.synchronize(device)


def batch_size(reference: Side, candidate: Side) -> tuple[int, str]:
    """Return the number of calls per batch, and a note if the batches had to stay shorter than LEAST_BATCH."""
    iterations = 1
    while True:
        fast, slow = sorted(_least_wall(side, iterations) for side in (reference, candidate))
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


def _least_wall(side: Side, iterations: int) -> float:
    """Return the seconds of a batch; of two if it is short, the lesser: a batch may have been preempted."""
    first = side.batch(iterations).wall
    return first if first > LONGEST_BATCH else min(first, side.batch(iterations).wall)
