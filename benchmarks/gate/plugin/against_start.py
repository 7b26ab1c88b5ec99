"""The fixture `against_start`: how long a fresh process takes to start, here and at the revision of --against."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ..judge.rules import START_FACTOR, RevisionRow, revision_decided, revision_verdict, start_questions
from ..measure.starts import Start, StartError
from ..report.words import revision_failure
from .benchmarks import claim, record
from .entries import entries
from .fixtures import names
from .progress import progress_of
from .session import SESSION


@pytest.fixture
def against_start(request: pytest.FixtureRequest, benchmark: Any) -> Callable[[str, str, str], RevisionRow]:
    """Duel the start of a variant with that at another revision: `against_start(package, variant, script)`.

    `python -c script` runs in the working tree and in the revision's, in a fresh process each time. It imports what it
    needs, prepares the variant and calls it once; what it prints must be the same on both sides. The test fails if half
    as much time again is proven. Tests with this fixture are deselected without --against and --starts.

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
        limit = START_FACTOR - 1
        row = RevisionRow(name, request.node.nodeid, str(session.revision), "new", tolerance=limit, blind=limit)
        _, there = entries(session, row, package, variant)
        candidate = Start(script, request.config.rootpath)
        _printed(candidate, f"{name} does not start")
        if there is not None and session.revision is not None:
            reference = Start(script, session.revision.tree, session.revision.import_folders)
            _printed(reference, f"{name} does not start at {session.revision}, so nothing can be compared with it")
            duel = session.runner(
                name,
                reference,
                candidate,
                start_questions(),
                alpha=session.alpha,
                budget=session.settings.budget,
                seed=session.seed(row.test),
                check=_same_output,
                decided=revision_decided,
                progress=progress_of(request.config, name),
            )
            record(benchmark, duel, "against")
            row = replace(row, verdict=revision_verdict(duel) or "inconclusive", duel=duel)
        session.findings.compared.append(row)
        if failure := revision_failure(row, strict=session.settings.strict):
            raise AssertionError(failure)
        return row

    return run


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
