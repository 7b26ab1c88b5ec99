"""The fixture `against_memory`: the peak memory of a variant, here and at the revision of --against."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ..judge.memory import MemoryRow
from ..judge.rules import RevisionRow
from ..measure import memory
from ..report.words import memory_failure
from .entries import entries
from .fixtures import names
from .session import SESSION

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
    of processes says so. Returns the last pair, or None if the variant is new.

    Tests with this fixture are deselected without --against. They take no share of alpha, for they bet on nothing.

    Raises:
        AssertionError: The variant takes more memory than at the revision; it is gone; or it runs at the revision and
            not on this machine's tree.
    """
    session = request.config.stash[SESSION]
    _, name = names(request)

    def run(package: str, variant: str, task: Task, *, prepare: Callable[[], object] | None = None) -> MemoryRow | None:
        __tracebackhide__ = True
        row = RevisionRow(name, request.node.nodeid, str(session.revision), "new")
        here, there = entries(session, row, package, variant)
        try:
            if there is None:
                memory.peak_memory(*task(here), prepare=prepare)
                return None
            for reference, candidate in _pairs(task(there), task(here), prepare):
                peaks = MemoryRow(name, row.test, reference, candidate, None, revision=row.revision)
                if peaks.revision_verdict == "same":
                    break
        except memory.UnmeasurableError as error:
            pytest.skip(str(error))
        session.findings.memory.append(peaks)
        if failure := memory_failure(peaks):
            raise AssertionError(failure)
        return peaks

    return run


def _pairs(
    reference: tuple[Any, ...], candidate: tuple[Any, ...], prepare: Callable[[], object] | None
) -> Iterator[tuple[int, int]]:
    """Yield the peaks of reference and candidate, PAIRS times; the candidate is first in every other pair."""
    for number in range(PAIRS):
        tasks = [reference, candidate] if number % 2 else [candidate, reference]
        peaks = [memory.peak_memory(*task, prepare=prepare) for task in tasks]
        yield (peaks[0], peaks[1]) if number % 2 else (peaks[1], peaks[0])
