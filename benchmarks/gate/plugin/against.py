"""The fixture `against`: a variant, here and at the revision of --against."""

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ..compare.confirm import ORDERS, Confirmation, confirm
from ..judge.rules import RevisionRow, revision_decided, revision_verdict
from ..measure.duel import Check
from ..measure.timing import InProcess, Work, settled_memory
from ..report.words import revision_failure
from .benchmarks import claim, record
from .fixtures import names
from .progress import progress_of
from .session import SESSION, Session
from .settings import settings_of

Build = Callable[[Any], Work]


@pytest.fixture
def against(request: pytest.FixtureRequest, benchmark: Any) -> Callable[..., RevisionRow]:
    """Duel a variant with itself at another revision: `against(package, variant, build, *, check) -> RevisionRow`.

    `package` ("impl.counter") has a dict VARIANTS, here and at the revision of --against. `build(VARIANTS[variant])` is
    called for both and returns work without arguments. `check` is called with both results, the other revision's first,
    and raises AssertionError if they differ. If the variant here has a callable `unsupported` that returns a reason,
    the verdict is "unsupported" and the test is skipped. Tests with this fixture are deselected without --against, all
    others with it. `@pytest.mark.gate(tolerance=5, blind=20, budget=60)` overrides the options for one test, and
    `clock="wall"` leaves CPU time out, for work that waits, polls or spins.

    Raises:
        AssertionError: The variant is slower, here and in fresh processes; the duel cannot see a slowdown of --blind;
            the variant returns something else; it runs at the revision and is skipped here; or, with --strict, there
            is no verdict.
    """
    session = request.config.stash[SESSION]
    case, name = names(request)
    benchmark.group = f"{case} against another revision"

    def run(package: str, variant: str, build: Build, *, check: Check) -> RevisionRow:
        __tracebackhide__ = True
        claim(benchmark)
        settings = settings_of(session.settings, request.node)
        row = RevisionRow(
            name,
            request.node.nodeid,
            str(session.revision),
            "new",
            tolerance=settings.tolerance,
            blind=settings.blind,
        )
        sides = _sides(session, row, package, variant, build)
        if sides is not None:
            reference, candidate = sides
            _same_results(row, reference, candidate, check)
            with settled_memory():
                result = session.runner(
                    name,
                    InProcess(reference, collects=True),
                    InProcess(candidate, collects=True),
                    settings.questions(),
                    alpha=session.alpha,
                    budget=settings.budget,
                    seed=session.seed(request.node.nodeid),
                    check=check,
                    decided=revision_decided,
                    progress=progress_of(request.config, name),
                )
            record(benchmark, result, "against")
            row = replace(row, verdict=revision_verdict(result) or "inconclusive", duel=result)
            if row.verdict == "slower" and not session.settings.confirming:
                confirmation = _confirmation(session, request, package)
                row = replace(
                    row, verdict="slower" if confirmation.agrees else "inconclusive", confirmation=confirmation
                )
        session.findings.compared.append(row)
        if failure := revision_failure(row, strict=session.settings.strict):
            raise AssertionError(failure)
        return row

    return run


def _confirmation(session: Session, request: pytest.FixtureRequest, package: str) -> Confirmation:
    """Repeat the duel in fresh processes, each of which gets the alpha of the one duel."""
    if session.revision is None:
        raise AssertionError("only a duel against a revision can be confirmed")
    options = {
        "--against": session.revision.commit,
        "--tolerance": session.settings.tolerance * 100,
        "--blind": session.settings.blind * 100,
        "--alpha": session.alpha,
        "--budget": session.settings.budget,
    }
    return confirm(request.config.rootpath, request.node.nodeid, package, options)


def _sides(session: Session, row: RevisionRow, package: str, variant: str, build: Build) -> tuple[Work, Work] | None:
    """Return the work of the revision and of the working tree, or None if the revision has no such variant."""
    __tracebackhide__ = True
    if session.revision is None:
        raise pytest.UsageError("the fixture `against` needs --against REV")
    here = importlib.import_module(package).VARIANTS[variant]
    reference_package = session.revision.load(package)
    there = getattr(reference_package, "VARIANTS", {}).get(variant)
    if reason := _unsupported(here):
        if there is not None and hasattr(there, "unsupported") and not _unsupported(there):
            raise AssertionError(f"{row.name} runs at {row.revision} and is unsupported here: {reason}")
        session.findings.compared.append(replace(row, verdict="unsupported", reason=reason))
        pytest.skip(reason)
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
        return works["reference"], works["candidate"]
    raise _refused(session, row, refused)


def _unsupported(variant: Any) -> str | None:
    """Return why this machine cannot run a variant; None if it can, or if the variant has no answer."""
    unsupported = getattr(variant, "unsupported", None)
    reason = unsupported() if callable(unsupported) else None
    return None if reason is None else str(reason)


def _refused(session: Session, row: RevisionRow, refused: dict[str, BaseException]) -> BaseException:
    """Return a skip if this machine runs the variant at neither revision, or else the failure."""
    here = refused.get("candidate")
    if here is None:
        return AssertionError(_broken_there(row, refused["reference"]))
    if not isinstance(here, pytest.skip.Exception):
        return here
    if "reference" not in refused:
        return AssertionError(f"{row.name} runs at {row.revision} and is skipped here: {here}")
    session.findings.compared.append(replace(row, verdict="unsupported", reason=str(here)))
    return here


def _same_results(row: RevisionRow, reference: Work, candidate: Work, check: Check) -> None:
    """Run both once, so that a failure names its side, and compare the results."""
    __tracebackhide__ = True
    result = candidate()
    try:
        expected = reference()
    except Exception as error:
        raise AssertionError(_broken_there(row, error)) from error
    try:
        check(expected, result)
    except AssertionError as error:
        raise AssertionError(f"{row.name} returns something else than at {row.revision}: {error}") from error


def _broken_there(row: RevisionRow, error: BaseException) -> str:
    return (
        f"{row.name}: at {row.revision} it raises {type(error).__name__}: {error}. Nothing can be compared with it; if "
        "that revision is broken, compare with another"
    )
