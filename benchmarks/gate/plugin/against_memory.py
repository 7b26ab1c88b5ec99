"""The fixture `against_memory`: the peak memory of a variant, here and at the revision of --against."""

from collections.abc import Callable
from typing import Any

import pytest

from ..judge.memory import MemoryRow
from ..judge.rules import RevisionRow
from ..report.words import memory_failure
from .entries import entries
from .fixtures import names
from .session import SESSION

Task = Callable[[Any], tuple[Any, ...]]


@pytest.fixture
def against_memory(request: pytest.FixtureRequest, peak_memory: Callable[..., int]) -> Callable[..., MemoryRow | None]:
    """Compare peak memory with another revision's: `against_memory(package, variant, task, prepare=None)`.

    `task(VARIANTS[variant])` is called for both revisions and returns a function and its arguments, all of which can be
    pickled: `lambda variant: (calls, variant, 10)`. Each runs in a fresh process, after `prepare()`, see `peak_memory`.
    More than one call of the variant shows what a call does not give back. Returns None if the variant is new.

    Tests with this fixture are deselected without --against. They take no share of alpha: a peak is one measurement on
    each side, judged as one against a saved run is.

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
        candidate = peak_memory(*task(here), prepare=prepare)
        if there is None:
            return None
        reference = peak_memory(*task(there), prepare=prepare)
        peaks = MemoryRow(name, row.test, reference, candidate, None, revision=row.revision)
        session.findings.memory.append(peaks)
        if failure := memory_failure(peaks):
            raise AssertionError(failure)
        return peaks

    return run
