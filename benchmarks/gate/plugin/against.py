"""The fixture `against`: a variant, here and at the revision of --against."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from ..compare.confirm import Confirmation, confirm
from ..compare.evidence import Kept
from ..compare.side_process import SideError, SideProcess
from ..judge.rules import RevisionRow, revision_decided, revision_verdict
from ..measure.duel import Check, Duel, recall
from ..measure.profile import Profiled, ProfileError, Profiler, growth
from ..measure.timing import InProcess, Side, settled_memory
from ..report import work
from ..report.words import revision_failure
from .benchmarks import claim, record
from .fixtures import names
from .progress import progress_of
from .session import SESSION, Session
from .settings import DuelSettings, settings_of
from .side import offer
from .sides import Build, Sides, broken_there, sides_of


@pytest.fixture
def against(request: pytest.FixtureRequest, benchmark: Any) -> Callable[..., RevisionRow]:
    """Duel a variant with itself at another revision: `against(package, variant, build, *, check) -> RevisionRow`.

    `package` ("impl.counter") has a dict VARIANTS, here and at the revision of --against. `build(VARIANTS[variant])` is
    called for both and returns work without arguments. What is no variant is an attribute: `against("impl.evaluation",
    "load_data", build, check=check)` calls `build(load_data)`. `check` is called with both results, the other
    revision's first, and raises AssertionError if they differ. If the variant here has a callable `unsupported` that
    returns a reason, the verdict is "unsupported" and the test is skipped. Tests with this fixture are deselected
    without --against, all others with it. `@pytest.mark.gate(tolerance=5, blind=20, budget=60)` overrides the options
    for one test, and `clock="wall"` leaves CPU time out, for work that waits, polls or spins.

    Where the dependencies differ, a process for each side runs this test up to here, in its own tree and environment,
    and this one only compares: results are sent through a pipe, so they must be data that `pickle` can send.

    Raises:
        AssertionError: The variant is slower, here and in fresh processes, and no acknowledged slowdown admits it; the
            duel cannot see a slowdown of --blind; the variant returns something else; the benchmark does less than the
            revision's own; it runs at the revision and is skipped here; or, with --strict, there is no verdict.
    """
    session = request.config.stash[SESSION]
    case, name = names(request)
    benchmark.group = f"{case} against another revision"

    def run(package: str, variant: str, build: Build, *, check: Check) -> RevisionRow:
        __tracebackhide__ = True
        claim(benchmark)
        if session.link:
            offer(session.link, request, package, variant, build)
        settings = replace(
            settings_of(session.settings, request.node), bound=session.acknowledged.bound(request.node.nodeid)
        )
        row = RevisionRow(
            name,
            request.node.nodeid,
            str(session.revision),
            "new",
            tolerance=settings.tolerance,
            blind=settings.blind,
        )
        wants = session.works.wants(row.test, package)  # before the time of the turns begins
        result, sides = _earlier(session, settings, row), None
        measures = result is None or not (result.done or _time_is_over(session, settings))
        with ExitStack() as stack:
            if measures or (wants and row.test not in session.works.rows):  # an earlier run may have measured all
                sides = stack.enter_context(sides_of(session, request, row, package, variant, build=build))
                if wants and sides:
                    session.works.compare(row.name, row.test, reference=sides[0])
            if measures:
                result = sides and _measured(session, request, settings, row, sides, check=check, earlier=result)
            if result is not None:
                record(benchmark, result, "against")
                row = replace(row, verdict=revision_verdict(result) or "inconclusive", duel=result)
                if row.verdict == "slower" and not session.settings.confirming:
                    row = _confirmed(session, request, settings, row, package=package, sides=sides)
                    row = session.acknowledged.judged(row)
        session.findings.compared.append(row)
        failures = [revision_failure(row, strict=session.settings.strict)]
        if compared := session.works.rows.get(row.test):
            session.findings.work.append(compared)
            failures.append(work.failure(compared, strict=session.settings.strict))
        if failure := "\n".join(filter(None, failures)):
            raise AssertionError(failure)
        return row

    return run


def _earlier(session: Session, settings: DuelSettings, row: RevisionRow) -> Duel | None:
    """Return what was measured before, in earlier turns or by the run that left the evidence; None if nothing was."""
    if session.turns is not None and row.test in session.turns.duels:
        return session.turns.duels[row.test]
    parts = session.kept(row.test, settings).parts
    if not parts:
        return None
    return recall(row.name, settings.questions(), parts, alpha=session.alpha, decided=revision_decided)


def _time_is_over(session: Session, settings: DuelSettings) -> bool:
    return settings.takes_turns and session.turns is not None and session.turns.over


def _measured(
    session: Session,
    request: pytest.FixtureRequest,
    settings: DuelSettings,
    row: RevisionRow,
    sides: Sides,
    *,
    check: Check,
    earlier: Duel | None,
) -> Duel:
    """Run the duel, or continue it.

    Raises:
        Deferred: It is open, and there is time for another turn.
    """
    __tracebackhide__ = True
    reference, candidate = sides
    turns = session.turns if settings.takes_turns else None
    parts = earlier.parts if earlier is not None else ()
    _same_results(row, reference, candidate, check)
    with settled_memory():
        result = session.runner(
            row.name,
            reference,
            candidate,
            settings.questions(),
            alpha=session.alpha,
            budget=settings.budget if turns is None else turns.turn(),
            seed=session.seed(row.test, len(parts)),
            check=check,
            decided=revision_decided,
            progress=progress_of(request.config, row.name),
            evidence=parts,
        )
    session.keep(row.test, settings, Kept(result.parts))
    if turns is not None and not (result.done or turns.over):
        raise turns.defer(row.test, result)
    return result


def _confirmed(
    session: Session,
    request: pytest.FixtureRequest,
    settings: DuelSettings,
    row: RevisionRow,
    *,
    package: str,
    sides: Sides | None,
) -> RevisionRow:
    """Return a row that says slower, or inconclusive if fresh processes do not; if they do, with a profile."""
    confirmation = _confirmation(session, request, settings, row, package)
    row = replace(row, verdict="slower" if confirmation.agrees else "inconclusive", confirmation=confirmation)
    return _profiled(row, session, package, sides) if confirmation.agrees else row


def _confirmation(
    session: Session, request: pytest.FixtureRequest, settings: DuelSettings, row: RevisionRow, package: str
) -> Confirmation:
    """Repeat the duel in fresh processes, each of which gets the alpha of the one duel.

    What the run that left the evidence has asked is not asked again: a second chance would be one for chance.
    """
    if session.revision is None or row.duel is None:
        raise AssertionError("only a duel against a revision can be confirmed")
    if verdicts := session.kept(row.test, settings).confirmation:
        return Confirmation(verdicts)
    options: dict[str, object] = {
        "--against": session.revision.commit,
        "--tolerance": session.settings.tolerance * 100,
        "--blind": session.settings.blind * 100,
        "--alpha": session.alpha,
        "--budget": settings.budget,
    }
    if python := request.config.getoption("against_python"):
        options["--against-python"] = python
    if request.config.getoption("one_environment"):
        options["--one-environment"] = None
    confirmation = confirm(request.config.rootpath, request.node.nodeid, package, options)
    session.keep(row.test, settings, Kept(row.duel.parts, confirmation.verdicts))
    return confirmation


def _profiled(row: RevisionRow, session: Session, package: str, sides: Sides | None) -> RevisionRow:
    """Add which functions grew, or why there is no profile: that changes no verdict."""
    if sides is None:
        return replace(row, unprofiled="both sides were measured by an earlier run")
    suffix = ""
    if session.revision and not session.pairs and (there := session.revision.load(package)):
        suffix = there.__name__.partition(".")[0].removeprefix(package.partition(".")[0])
    reference, candidate = (_profiler(side, suffix) for side in sides)
    try:
        return replace(row, growth=growth(reference, candidate))
    except ProfileError as error:
        return replace(row, unprofiled=str(error))


def _profiler(side: Side, suffix: str) -> Profiled:
    """Return what profiles a side where it runs; modules of the revision have a suffix if that is in this process."""
    if isinstance(side, InProcess):
        return Profiler(side.work, suffix=suffix)
    if isinstance(side, SideProcess):
        return side.profiler()
    raise TypeError(f"no profiler for {type(side).__name__}")


def _same_results(row: RevisionRow, reference: Side, candidate: Side, check: Check) -> None:
    """Run both once, so that a failure names its side, and compare the results."""
    __tracebackhide__ = True
    result = candidate.call()
    try:
        expected = reference.call()
    except SideError:
        raise
    except Exception as error:
        raise AssertionError(broken_there(row, error)) from error
    try:
        check(expected, result)
    except AssertionError as error:
        raise AssertionError(f"{row.name} returns something else than at {row.revision}: {error}") from error
