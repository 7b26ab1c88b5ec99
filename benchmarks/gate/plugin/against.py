"""The fixture `against`: a variant, here and at the revision of --against, each side in a process of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from ..compare.confirm import FRESH_PAIRS, confirmation
from ..compare.results import KEPT
from ..compare.revision import RevisionError
from ..compare.side_process import Refusal, SideError
from ..judge.rules import RevisionRow, proven_slower, revision_decided, revision_verdict
from ..measure.bets import alpha_of_a_bet
from ..measure.duel import Check
from ..measure.timing import Side, Work
from ..report.words import revision_failure
from .benchmarks import claim, record
from .fixtures import names
from .pair import Pair, fresh_pair
from .progress import progress_of
from .session import SESSION, Session
from .settings import DuelSettings, settings_of
from .side import offer

Build = Callable[[Any], Work]


@pytest.fixture
def against(request: pytest.FixtureRequest, benchmark: Any) -> Callable[..., RevisionRow | None]:
    """Duel a variant with itself at another revision: `against(package, variant, build, *, check) -> RevisionRow`.

    `package` ("impl.counter") has a dict VARIANTS, here and at the revision of --against. In a process for each side,
    which runs this test in its own tree, `build(VARIANTS[variant])` returns work without arguments; there the call
    returns None at the end. The results go through a pipe, so they must be data that `pickle` can send. `check` is
    called with both, the other revision's first, and raises AssertionError if they differ. If the variant here has a
    callable `unsupported` that returns a reason, the verdict is "unsupported" and the test is skipped. Tests with this
    fixture are deselected without --against, all others with it. `@pytest.mark.gate(tolerance=5, blind=20, budget=60)`
    overrides the options for one test, and `clock="wall"` leaves CPU time out, for work that waits, polls or spins.

    Raises:
        AssertionError: The variant is slower, in this and in fresh processes; the duel cannot see a slowdown of
            --blind; the variant returns something else; it runs at the revision and is skipped here; a process ends;
            or, with --strict, there is no verdict.
    """
    session = request.config.stash[SESSION]
    case, name = names(request)
    benchmark.group = f"{case} against another revision"

    def run(package: str, variant: str, build: Build, *, check: Check) -> RevisionRow | None:
        __tracebackhide__ = True
        claim(benchmark)
        if session.link:
            offer(session.link, package, variant, build)
            return None
        settings = settings_of(session.settings, request.node)
        row = RevisionRow(
            name, request.node.nodeid, str(session.revision), "new", tolerance=settings.tolerance, blind=settings.blind
        )
        with _begun(session, request) as (pair, there, here):
            if here:
                raise _refused(session, row, there, here)
            if _compares(row, there):
                row = _compared(session, request, settings, row, pair, check=check)
            else:
                pair.candidate.call()
        if row.duel:
            record(benchmark, row.duel, "against")
        session.findings.compared.append(row)
        if failure := revision_failure(row, strict=session.settings.strict):
            raise AssertionError(failure)
        return row

    return run


@contextmanager
def _begun(session: Session, request: pytest.FixtureRequest) -> Iterator[tuple[Pair, Refusal | None, Refusal | None]]:
    """Have both sides build the test's work; yield their processes and the refusals of the revision and of this tree.

    Raises:
        AssertionError: A process has ended. The next test starts new ones.
    """
    if session.revision is None:
        raise pytest.UsageError("the fixture `against` needs --against REV")
    test = request.node.nodeid
    try:
        pair = session.pair_of(request.node, request.config, request.session.items)
        refusals = pair.begin(test)
        try:
            yield pair, *refusals
        finally:
            pair.end(refusals)
    except SideError as error:
        session.close_pair()
        raise AssertionError(f"{test}: {error}") from None
    except RevisionError as error:
        raise AssertionError(f"{test}: {error}") from None


def _refused(session: Session, row: RevisionRow, there: Refusal | None, here: Refusal) -> BaseException:
    """Return a skip if this machine runs the variant at neither revision, or else the failure."""
    if here.kind in {"raised", "absent"}:
        return here.error or AssertionError(f"{row.name}: {here.reason}")
    if there is None:
        return AssertionError(f"{row.name} runs at {row.revision} and is {here.kind} here: {here.reason}")
    session.findings.compared.append(replace(row, verdict="unsupported", reason=here.reason))
    return pytest.skip.Exception(here.reason)


def _compares(row: RevisionRow, there: Refusal | None) -> bool:
    """Return whether the revision runs the variant, too; if not, it is new.

    Raises:
        AssertionError: It fails there.
    """
    if there and there.kind == "raised":
        raise AssertionError(_broken_there(row, there.error, there.reason))
    return there is None


def _compared(
    session: Session,
    request: pytest.FixtureRequest,
    settings: DuelSettings,
    row: RevisionRow,
    pair: Pair,
    *,
    check: Check,
) -> RevisionRow:
    """Return the row with its verdict: after the duel, and after more duels in fresh processes if it says "slower"."""
    __tracebackhide__ = True
    check = _once(check)
    run = partial(
        session.runner,
        row.name,
        questions=settings.questions(),
        alpha=session.alpha,
        budget=settings.budget,
        check=check,
        decided=revision_decided,
        progress=progress_of(request.config, row.name),
    )
    reference = pair.reference
    if reference is None or session.revision is None:
        raise AssertionError("only two sides can be compared")
    _same_results(row, reference, pair.candidate, check)
    seed = session.seed(row.test)
    duel = run(reference=reference, candidate=pair.candidate, seed=seed)
    row = replace(row, verdict=revision_verdict(duel) or "inconclusive", duel=duel)
    if row.verdict != "slower":
        return row
    again = []
    for number in range(1, FRESH_PAIRS + 1):
        with fresh_pair(request.config, session.revision, row.test) as (there, here):
            again.append(run(reference=there, candidate=here, seed=seed + number))
    confirmed = confirmation(again, proven_slower(duel), alpha_of_a_bet(settings.questions(), session.alpha))
    return replace(row, verdict="slower" if confirmed.agrees else "inconclusive", confirmation=confirmed)


def _once(check: Check) -> Check:
    """Return a check that looks at two results once: of equal results, a side's process returns the same object."""
    kept: dict[tuple[int, int], tuple[Any, Any]] = {}  # the objects as well, or another could get their ids

    def checked(expected: Any, found: Any) -> None:
        __tracebackhide__ = True
        key = id(expected), id(found)
        if key not in kept:
            check(expected, found)
            kept[key] = expected, found
            if len(kept) > KEPT * KEPT:
                del kept[next(iter(kept))]

    return checked


def _same_results(row: RevisionRow, reference: Side, candidate: Side, check: Check) -> None:
    """Run both once, so that a failure names its side, and compare the results."""
    __tracebackhide__ = True
    result = candidate.call()
    try:
        expected = reference.call()
    except SideError:
        raise
    except Exception as error:
        raise AssertionError(_broken_there(row, error)) from error
    try:
        check(expected, result)
    except AssertionError as error:
        raise AssertionError(f"{row.name} returns something else than at {row.revision}: {error}") from error


def _broken_there(row: RevisionRow, error: BaseException | None, reason: str = "") -> str:
    what = f"{type(error).__name__}: {error}" if error else reason
    return (
        f"{row.name}: at {row.revision} it raises {what}. Nothing can be compared with it; if that revision is broken, "
        "compare with another"
    )
