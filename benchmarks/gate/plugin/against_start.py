"""The fixture `against_start`: how long a fresh process takes to start, here and at the revision of --against."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ..compare.side_process import variables_of
from ..judge.rules import START_FACTOR, RevisionRow, revision_decided, revision_verdict, start_questions
from ..measure.starts import Start, StartError
from ..report.words import revision_failure
from .benchmarks import claim, record
from .fixtures import names
from .progress import progress_of
from .session import SESSION, Session
from .side import offer
from .sides import sides_of


@pytest.fixture
def against_start(request: pytest.FixtureRequest, benchmark: Any) -> Callable[[str, str, str], RevisionRow]:
    """Duel the start of a variant with that at another revision: `against_start(package, variant, script)`.

    `python -c script` runs in the working tree and in the revision's, in a fresh process each time. It imports what it
    needs, prepares the variant and calls it once; what it prints must be the same on both sides. The test fails if half
    as much time again is proven. Tests with this fixture are deselected without --against and --starts. Where the
    dependencies differ, each side's processes have its own environment.

    Raises:
        AssertionError: The start here takes more than 1.5 times as long; the script fails, or prints something else
            than at the revision; it runs at the revision and is unsupported here; or, with --strict, there is no
            verdict.
    """
    session = request.config.stash[SESSION]
    case, name = names(request)
    benchmark.group = f"{case} starts against another revision"

    def run(package: str, variant: str, script: str) -> RevisionRow:
        __tracebackhide__ = True
        claim(benchmark)
        if session.link:
            offer(session.link, request, package, variant, _presence)
        limit = START_FACTOR - 1
        row = RevisionRow(name, request.node.nodeid, str(session.revision), "new", tolerance=limit, blind=limit)
        with sides_of(session, request, row, package, variant, build=_presence) as sides:
            known = sides is not None
        reference, candidate = _starts(session, request.config, script)
        _printed(candidate, f"{name} does not start")
        if known:
            _printed(reference, f"{name} does not start at {session.revision}, so nothing can be compared with it")
            duel = session.runner(
                name,
                reference,
                candidate,
                start_questions(session.acknowledged.bound(row.test)),
                alpha=session.alpha,
                budget=session.settings.budget,
                seed=session.seed(row.test),
                check=_same_output,
                decided=revision_decided,
                progress=progress_of(request.config, name),
            )
            record(benchmark, duel, "against")
            row = session.acknowledged.judged(replace(row, verdict=revision_verdict(duel) or "inconclusive", duel=duel))
        session.findings.compared.append(row)
        if failure := revision_failure(row, strict=session.settings.strict):
            raise AssertionError(failure)
        return row

    return run


def _presence(_: Any) -> Callable[[], None]:
    """Return work that does nothing: the sides are asked for what they have, and processes of their own start it."""
    return lambda: None


def _starts(session: Session, config: pytest.Config, script: str) -> tuple[Start, Start]:
    """Return the starts of reference and candidate, each in its tree, and in its environment if they have two."""
    revision, environments = session.revision, session.findings.environments
    if revision is None:
        raise pytest.UsageError("the fixture `against_start` needs --against REV")
    reference = Start(script, revision.tree, revision.import_folders)
    candidate = Start(script, config.rootpath, revision.folders_of(config.rootpath))
    if not (environments and environments.reference and environments.candidate):
        return reference, candidate
    pythons = [side.interpreter for side in (environments.reference, environments.candidate)]
    there, here = (
        replace(start, python=python, variables=variables_of(python))
        for start, python in zip((reference, candidate), pythons, strict=True)
    )
    return there, here


def _printed(side: Start, failure: str) -> str:
    __tracebackhide__ = True
    try:
        return side.call()
    except StartError as error:
        raise AssertionError(f"{failure}: {error}") from None


def _same_output(expected: str, found: str) -> None:
    __tracebackhide__ = True
    if expected != found:
        raise AssertionError(f"the script prints {found[:200]!r} here and {expected[:200]!r} at the revision")
