"""The fixture `against_memory`: the peak memory of a variant, here and at the revision of --against."""

import importlib
from collections.abc import Callable
from typing import Any

import pytest

from ..judge.memory import MemoryRow
from ..report.words import memory_failure
from .against import entry_of, unsupported
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
        if session.revision is None:
            raise pytest.UsageError("the fixture `against_memory` needs --against REV")
        here = entry_of(importlib.import_module(package), variant)
        there = entry_of(session.revision.load(package), variant)
        if here is None:
            raise AssertionError(f"{package} has neither a variant nor an attribute {variant!r}: removed or renamed?")
        if reason := unsupported(here):
            if there is not None and not unsupported(there):
                raise AssertionError(f"{name} runs at {session.revision} and is unsupported here: {reason}")
            session.unsupported.add(request.node.nodeid)
            pytest.skip(reason)
        candidate = peak_memory(*task(here), prepare=prepare)
        if there is None:
            return None
        reference = peak_memory(*task(there), prepare=prepare)
        row = MemoryRow(name, request.node.nodeid, reference, candidate, None, revision=str(session.revision))
        session.findings.memory.append(row)
        if failure := memory_failure(row):
            raise AssertionError(failure)
        return row

    return run
