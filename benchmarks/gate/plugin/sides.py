"""The two sides of a test with the fixture `against`: both in this process, or each in a process of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeAlias

import pytest

from ..compare.confirm import ORDERS
from ..compare.revision import RevisionError
from ..compare.side_process import Refusal, SideError
from ..judge.rules import RevisionRow
from ..measure.timing import InProcess, Side, Work
from .entries import entries
from .session import Session

Build: TypeAlias = Callable[[Any], Work]
Sides: TypeAlias = tuple[Side, Side]  # the reference's and the candidate's


@contextmanager
def sides_of(
    session: Session, request: pytest.FixtureRequest, row: RevisionRow, package: str, variant: str, *, build: Build
) -> Iterator[Sides | None]:
    """Yield the sides of a test; None if the revision has nothing of that name.

    Raises:
        AssertionError: One side cannot run it, or a process has ended. The next test starts new ones.
    """
    __tracebackhide__ = True
    if session.revision is None:
        raise pytest.UsageError("the fixture `against` needs --against REV")
    if session.pairs is None:
        yield _in_this_process(session, row, package, variant, build)
        return
    try:
        pair = session.pairs.of(request.node.path)
        there, here = pair.begin(row.test)
        try:
            if here:
                raise _not_here(session, row, there, here)
            if there and there.kind != "absent":
                raise AssertionError(broken_there(row, there.error or there.reason))
            if there or pair.reference is None:
                pair.candidate.call()
                yield None
            else:
                yield pair.reference, pair.candidate
        finally:
            pair.end()
    except SideError as error:
        session.pairs.close()
        raise AssertionError(f"{row.name}: {error}") from None
    except RevisionError as error:
        raise AssertionError(f"{row.name}: {error}") from None


def _not_here(session: Session, row: RevisionRow, there: Refusal | None, here: Refusal) -> BaseException:
    """Return a skip if this machine runs the variant at neither revision, or else the failure."""
    if here.kind in {"raised", "absent"}:
        error = here.error or AssertionError(f"{row.name}: {here.reason}: removed or renamed?")
        if here.error:
            error.add_note(f"in the process of the working tree:\n{here.reason}")
        return error
    if there is None:
        return AssertionError(f"{row.name} runs at {row.revision} and is {here.kind} here: {here.reason}")
    session.findings.compared.append(replace(row, verdict="unsupported", reason=here.reason))
    return pytest.skip.Exception(here.reason)


def _in_this_process(session: Session, row: RevisionRow, package: str, variant: str, build: Build) -> Sides | None:
    """Return the work of the revision and of the working tree, or None if the revision has nothing of that name."""
    __tracebackhide__ = True
    here, there = entries(session, row, package, variant)
    if there is None:
        build(here)()
        return None
    variants = {"candidate": here, "reference": there}
    works: dict[str, Work] = {}
    refused: dict[str, BaseException] = {}
    first, second = ORDERS if session.settings.confirming == "reference" else reversed(ORDERS)
    # The side that is built first gets fresh memory and may stay 1 to 3 % slower for it: of two equal servers in 7 of 8
    # processes (AMD EPYC Turin (Zen 5), 2026-11-23). So that side is built once and discarded.
    for side in (first, first, second):
        try:
            works[side] = build(variants[side])
        except (Exception, pytest.skip.Exception) as error:  # noqa: BLE001 - a skip, or that revision's refusal
            refused[side] = error
    if not refused:
        return InProcess(works["reference"], collects=True), InProcess(works["candidate"], collects=True)
    raise _refused(session, row, refused)


def _refused(session: Session, row: RevisionRow, refused: dict[str, BaseException]) -> BaseException:
    """Return a skip if this machine runs the variant at neither revision, or else the failure."""
    here = refused.get("candidate")
    if here is None:
        return AssertionError(broken_there(row, refused["reference"]))
    if not isinstance(here, pytest.skip.Exception):
        return here
    if "reference" not in refused:
        return AssertionError(f"{row.name} runs at {row.revision} and is skipped here: {here}")
    session.findings.compared.append(replace(row, verdict="unsupported", reason=str(here)))
    return here


def broken_there(row: RevisionRow, error: BaseException | str) -> str:
    """Return that the revision cannot run a test, and what to do."""
    what = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return (
        f"{row.name}: at {row.revision} it raises {what}. Nothing can be compared with it; if "
        "that revision is broken, compare with another"
    )
