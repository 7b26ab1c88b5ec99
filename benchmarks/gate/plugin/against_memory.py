"""The fixture `against_memory`: the peak memory of a variant, here and at the revision of --against."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from ..judge.memory import MemoryRow
from ..judge.rules import RevisionRow
from ..measure import memory
from ..measure.timing import Side
from ..report.words import memory_failure
from .fixtures import names, params_of
from .session import SESSION
from .side import offer
from .sides import sides_of

Task = Callable[[Any], tuple[Any, ...]]

# Of two processes of equal code that served, one took 523 MiB and the other 423 (Intel Xeon, 2026-11-26). So a peak
# that is more has to be more again, in new processes and in the other order.
PAIRS = 3


@pytest.fixture
def against_memory(request: pytest.FixtureRequest) -> Callable[..., MemoryRow | None]:
    """Compare peak memory with another revision's: `against_memory(package, variant, task, prepare=None)`.

    `task(VARIANTS[variant])` is called for both revisions and returns a function and its arguments, all of which can be
    pickled: `lambda variant: (calls, variant, 10)`. Each runs in a fresh process, after `prepare()`, see `peak_memory`.
    More than one call of the variant shows what a call does not give back. It is more only if each of up to PAIRS pairs
    of processes says so. Returns the last pair, or None if the variant is new. Where the dependencies differ, each
    side's processes have its own environment.

    Tests with this fixture are deselected without --against. They take no share of alpha, for they bet on nothing.

    Raises:
        AssertionError: The variant takes more memory than at the revision; it is gone; or it runs at the revision and
            not on this machine's tree.
    """
    session = request.config.stash[SESSION]
    _, name = names(request)

    def run(package: str, variant: str, task: Task, *, prepare: Callable[[], object] | None = None) -> MemoryRow | None:
        __tracebackhide__ = True

        def build(found: Any) -> Callable[[], int]:
            return partial(_peak, *task(found), prepare=prepare)

        if session.link:
            offer(session.link, request, package, variant, build)
        row = RevisionRow(name, request.node.nodeid, str(session.revision), "new")
        with sides_of(session, request, row, package, variant, build=build) as sides:
            if sides is None:
                return None
            peaks: list[MemoryRow] = []
            for reference, candidate in _pairs(*sides):
                params = params_of(request.node)
                peaks.append(
                    MemoryRow(name, row.test, reference, candidate, None, revision=row.revision, params=params)
                )
                if peaks[-1].revision_verdict == "same":
                    break
        found = session.acknowledged.judged_memory(peaks)
        session.findings.memory.append(found)
        if failure := memory_failure(found):
            raise AssertionError(failure)
        return found

    return run


def _peak(function: Callable[..., object], *args: object, prepare: Callable[[], object] | None) -> int:
    """Measure the peak, in this process or in that of a side; it is skipped where the system has no such reading."""
    try:
        return memory.peak_memory(function, *args, prepare=prepare)
    except memory.UnmeasurableError as error:
        pytest.skip(str(error))


def _pairs(reference: Side, candidate: Side) -> Iterator[tuple[int, int]]:
    """Yield the peaks of reference and candidate, PAIRS times; the candidate is first in every other pair."""
    for number in range(PAIRS):
        if number % 2:
            there, here = reference.call(), candidate.call()
        else:
            here, there = candidate.call(), reference.call()
        yield there, here
