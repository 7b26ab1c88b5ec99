"""Layer one: every interleaving of two threads, running the variants' own code under frontrun's scheduler.

The search uses dynamic partial-order reduction (DPOR): among interleavings that differ only in the order of independent
steps, it runs one. For the correct variants the search has no preemption bound and is exhaustive, with blocks of one
entry and the log in memory. frontrun also reports a pass when the search stops at its cap, so the tests assert that it
ended below the cap. The baseline has too many interleavings to run them all (limit 1: 6,655 in 25 s, unfinished). One
that fails is enough, and it is found at once with at most two preemptions. To show that the search would detect a fault
in the correct variants, it also runs the same code without a lock.
"""

from contextlib import suppress

import frontrun
import pytest
from frontrun._cooperative import patch_locks, unpatch_locks

from impl.counter import baseline, locked, optimised, sequential
from impl.counter.threads import Shared
from tests.counter.memory_log import MemoryLog

CAP = 20_000


@pytest.fixture(autouse=True)
def cooperative_locks():
    for thread in (1, 2):
        optimised.layout(thread, 1)  # fill this function's cache, or the first interleavings would also cover that
    patch_locks()
    yield
    unpatch_locks()


class Model:
    """The state that two threads share; `step(model, thread)` is the variant's own loop."""

    def __init__(self, step, limit):
        self.shared = Shared(limit)
        self.log = MemoryLog()
        self.step = step


def explore(step, limit, invariant, *, preemptions=None, stop_on_first=False):
    return frontrun.explore(
        setup=lambda: Model(step, limit),
        workers=[lambda model: model.step(model, 1), lambda model: model.step(model, 2)],
        invariant=invariant,
        preemption_bound=preemptions,
        stop_on_first=stop_on_first,
        max_executions=CAP,
        detect_io=False,
        reproduce_on_failure=0,
    )


def complete(model):
    limit = model.shared.limit
    return model.shared.count == limit and sorted(model.log.counts) == [(n, n) for n in range(1, limit + 1)]


def in_order(model):
    return complete(model) and model.log.counts == sorted(model.log.counts)


VARIANTS = {
    "locked": (lambda model, thread: locked.count_up(model.shared, thread, model.log), complete),
    "sequential": (lambda model, thread: sequential.count_up(model.shared, thread, model.log), in_order),
    "optimised": (
        lambda model, thread: optimised.count_up(model.shared, thread, model.log.write, 99, block=1),
        in_order,
    ),
}


# The number of interleavings depends on frontrun and on the interpreter. With frontrun 0.7 on CPython 3.11, for limits
# 3 and 4: locked 73 and 433, sequential 12 and 24, optimised (blocks of one) 12 and 24.
@pytest.mark.parametrize("limit", [3, 4])
@pytest.mark.parametrize("name", VARIANTS)
def test_no_interleaving_breaks_the_invariant(name, limit, record_property):
    step, invariant = VARIANTS[name]
    result = explore(step, limit, invariant)
    record_property("interleavings", result.num_explored)
    result.assert_holds()
    assert 2 * limit <= result.num_explored < CAP, "too few interleavings, or the search was stopped by its cap"


def test_baseline_overshoots_in_some_interleaving():
    result = explore(
        lambda model, thread: baseline.count_up(model.shared, thread, model.log),
        3,
        lambda model: model.shared.count == model.shared.limit,
        preemptions=2,
        stop_on_first=True,
    )
    assert result.property_holds is False
    assert "Shared.count" in result.explanation


def test_baseline_contradicts_itself_in_some_interleaving():
    result = explore(
        lambda model, thread: baseline.count_up(model.shared, thread, model.log),
        3,
        lambda model: all(first == again for first, again in model.log.counts),
        preemptions=2,
        stop_on_first=True,
    )
    assert result.property_holds is False


class NoLock:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def acquire(self):
        return True

    def release(self):
        return None


@pytest.mark.parametrize("name", VARIANTS)
def test_the_search_detects_a_missing_lock(name):
    step, invariant = VARIANTS[name]

    def without_lock(model, thread):
        model.shared.lock = NoLock()
        step(model, thread)

    assert explore(without_lock, 3, invariant, stop_on_first=True).property_holds is False


class DiskFullError(Exception):
    pass


def count_up_on_a_disk_full_at_2(model, thread):
    def write(block):
        if b"Count to 2 " in bytes(block):
            raise DiskFullError
        model.log.write(block)

    with suppress(DiskFullError):
        optimised.count_up(model.shared, thread, write, 99, block=1)


def prefix(model):
    return model.log.counts == [(1, 1)]


def test_no_interleaving_writes_anything_after_a_failure():
    result = explore(count_up_on_a_disk_full_at_2, 4, prefix)
    result.assert_holds()
    assert 2 <= result.num_explored < CAP


def test_the_search_detects_a_failure_that_does_not_stop_the_other_thread():
    def without_halt(model, thread):
        model.shared.halt.set = lambda: None
        count_up_on_a_disk_full_at_2(model, thread)

    assert explore(without_halt, 4, prefix, stop_on_first=True).property_holds is False
