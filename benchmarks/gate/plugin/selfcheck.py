"""The tests by which every run that compares proves itself. The plugin adds them to the run."""

from collections.abc import Mapping
from typing import Any

import pytest

from ..compare.revision import RevisionError
from ..judge.completeness import Completeness, completeness
from ..judge.rules import revision_decided, revision_questions, revision_verdict
from ..measure import workloads
from ..measure.bets import Answer
from ..measure.duel import Duel
from ..measure.score import Decided
from ..measure.timing import Work
from ..report.words import incomplete
from .benchmarks import claim
from .progress import progress_of
from .requested import is_requested, requested_paths
from .session import CANARY, CONTROL, SESSION, Session

LISTS = 100  # some 2 ms
SLOWDOWN = 0.05
BY_CLOCK = {"wall": "revision", "CPU": "cpu"}  # which question is about which clock


@pytest.fixture
def session(request: pytest.FixtureRequest, benchmark: Any) -> Session:
    """Return the gate's session. As users of `benchmark` these tests run under --benchmark-only as well."""
    claim(benchmark)
    return request.config.stash[SESSION]


def test_control(session: Session, request: pytest.FixtureRequest) -> None:
    """Work in a duel with itself is not slower than itself."""
    work = workloads.sorting(LISTS)
    duel = _duel(session, request, CONTROL, work, work, decided=revision_decided)
    verdict = revision_verdict(duel) or "inconclusive"
    session.findings.proven.append(f"control: {verdict} after {_pairs(duel)}, between equal sides")
    if verdict not in {"same", "inconclusive"}:
        raise AssertionError(
            f"work is {verdict} than itself after {_pairs(duel)}: no verdict of this run can be trusted. Repeat the "
            "run on a quieter machine or with another --duel-seed: was it chance? (--alpha is its probability)"
        )


def test_canary(session: Session, request: pytest.FixtureRequest) -> None:
    """A slowdown of 5 % is detected, by wall time and by CPU time."""
    work = workloads.sorting(LISTS)

    def decided(answers: Mapping[str, Answer]) -> bool:
        return all(answers[question].verdict != "open" for question in BY_CLOCK.values())

    duel = _duel(session, request, CANARY, work, workloads.slowed(work, SLOWDOWN), decided=decided)
    clocks = list(BY_CLOCK) if duel.cpu else ["wall"]
    missed = [clock for clock in clocks if duel.answer(BY_CLOCK[clock]) != "below"]
    if missed:
        raise AssertionError(
            f"work that is {SLOWDOWN:.0%} slower is not found slower by {' and '.join(missed)} time after "
            f"{_pairs(duel)}: `same` proves nothing in this run. Use a quieter machine, or more time (--budget SECONDS)"
        )
    by = " and ".join(clocks)
    session.findings.proven.append(
        f"canary: a slowdown of {SLOWDOWN:.0%} was detected by {by} time after {_pairs(duel)}"
    )


def test_nothing_is_missing(session: Session, request: pytest.FixtureRequest) -> None:
    """Every benchmark of the saved run or the other revision ran here, and at least one did."""
    result, problems = _completeness(session, request.config)
    problems += incomplete(result)
    session.findings.remarks += [f"{test} is removed, as --removed says" for test in result.admitted]
    if problems:
        raise AssertionError("; ".join(problems))


def _completeness(session: Session, config: pytest.Config) -> tuple[Completeness, list[str]]:
    """Return what is missing, and why the other revision's benchmarks are unknown if they are."""
    problems, found = [], session.findings
    known = {test: f"in the saved run {run.name}" for run in session.runs for test in run.tests}
    if session.revision:
        try:
            tests = session.revision.benchmarks(requested_paths(config), **session.of_revision())
            known |= dict.fromkeys(tests, f"at {session.revision}")
        except RevisionError as error:
            problems.append(str(error))
    smaller = {row.test for row in found.work if row.admitted}
    if session.works.recorded is not None:
        # What is not of this run may be smaller: jobs that split a suite with -k have the same options.
        smaller |= session.works.others
        found.remarks += session.works.remarks
    result = completeness(
        {test: where for test, where in known.items() if is_requested(test, config)},
        session.collected,
        skipped=session.skipped,
        unsupported={row.test for row in found.compared if row.verdict == "unsupported"},
        removed=session.settings.removed,
        measured=bool(found.compared or found.duels or found.memory or session.failed & session.collected),
        smaller=smaller,
        moved=session.left_out & frozenset(test for run in session.runs for test in run.quick),
    )
    return result, problems


def _duel(
    session: Session,
    request: pytest.FixtureRequest,
    name: str,
    reference: Work,
    candidate: Work,
    *,
    decided: Decided,
) -> Duel:
    return session.runner(
        name,
        reference,
        candidate,
        revision_questions(session.settings.tolerance, session.settings.blind),
        alpha=session.alpha,
        budget=session.settings.budget,
        seed=session.settings.seed,
        decided=decided,
        progress=progress_of(request.config, name),
    )


def _pairs(duel: Duel) -> str:
    return f"{duel.pairs} pairs ({duel.seconds:.1f} s)"
