"""The fixture `against`: a variant, here and at the revision of --against."""

import importlib
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ..compare.confirm import ORDERS, confirmed
from ..judge.rules import Compared, revision_questions, revision_verdict
from ..measure.duel import Check
from ..measure.timing import Work
from .fixtures import claim, names, record
from .progress import shown
from .session import GATE, Gate, settings

Build = Callable[[Any], Work]


@pytest.fixture
def against(request: pytest.FixtureRequest, benchmark: Any) -> Callable[..., Compared]:
    """Duel a variant with itself at another revision: `against(package, variant, build, *, check) -> Compared`.

    `package` ("impl.counter") has a dict VARIANTS, here and at the revision of --against. `build(VARIANTS[variant])` is
    called for both and returns work without arguments; `check` is called with the results of both, the other
    revision's first, and raises AssertionError where they differ. Tests that use this fixture are deselected without
    --against, and all others with it. `@pytest.mark.gate(tolerance=5, budget=60)` overrides the options for one test.

    Raises:
        AssertionError: where the variant is slower, here and in fresh processes; where it returns something else;
            where it runs at the revision and is skipped here; with --strict, where no verdict was reached.
    """
    gate = request.config.stash[GATE]
    case, name = names(request)
    benchmark.group = f"{case} against another revision"

    def run(package: str, variant: str, build: Build, *, check: Check) -> Compared:
        __tracebackhide__ = True
        claim(benchmark)
        tolerance, budget = settings(gate, request.node)
        row = Compared(name, request.node.nodeid, str(gate.revision), "new", tolerance=tolerance)
        sides = _sides(gate, row, package, variant, build)
        if sides is not None:
            reference, candidate = sides
            _same_results(row, reference, candidate, check)
            found = gate.fight(
                name,
                reference,
                candidate,
                revision_questions(tolerance),
                alpha=gate.alpha / gate.duels,
                budget=budget,
                seed=random.Random(f"{gate.seed} {request.node.nodeid}").getrandbits(32),
                check=check,
                progress=shown(request.config, name),
            )
            record(benchmark, found, "against")
            row = replace(row, verdict=revision_verdict(found) or "inconclusive", duel=found)
            if row.verdict == "slower" and not gate.confirming:
                row = confirmed(row, package, request.config)
        gate.report.compared.append(row)
        if failure := row.failure(strict=gate.strict):
            raise AssertionError(failure)
        return row

    return run


def _sides(gate: Gate, row: Compared, package: str, variant: str, build: Build) -> tuple[Work, Work] | None:
    """Return the work of the revision and of here, or None where the revision has no such variant."""
    __tracebackhide__ = True
    if gate.revision is None:
        raise pytest.UsageError("the fixture `against` needs --against REV")
    here = importlib.import_module(package)
    there = gate.revision.load(package)
    if there is None or variant not in there.VARIANTS:
        build(here.VARIANTS[variant])()
        return None
    variants = {"candidate": here.VARIANTS[variant], "reference": there.VARIANTS[variant]}
    works: dict[str, Work] = {}
    refused: dict[str, BaseException] = {}
    first, second = ORDERS if gate.confirming == "reference" else reversed(ORDERS)
    # What is built first gets memory that nobody has used yet, and may stay 1 to 3 % slower for it (of two equal
    # servers in 7 of 8 processes; AMD EPYC Turin (Zen 5), 2026-11-23): so the first is built once before.
    for side in (first, first, second):
        try:
            works[side] = build(variants[side])
        except (Exception, pytest.skip.Exception) as error:  # noqa: BLE001 - a skip, or that revision's own way to say no
            refused[side] = error
    if not refused:
        return works["reference"], works["candidate"]
    raise _refused(gate, row, refused)


def _refused(gate: Gate, row: Compared, refused: dict[str, BaseException]) -> BaseException:
    """Return a skip for what runs on this machine at neither revision; what runs at one only is a failure."""
    here = refused.get("candidate")
    if here is None:
        return AssertionError(_broken_there(row, refused["reference"]))
    if not isinstance(here, pytest.skip.Exception):
        return here
    if "reference" not in refused:
        return AssertionError(f"{row.name} runs at {row.revision} and is skipped here: {here}")
    gate.report.compared.append(replace(row, verdict="unsupported", note=str(here)))
    return here


def _same_results(row: Compared, reference: Work, candidate: Work, check: Check) -> None:
    """Run both once, so that what fails is blamed on its side, and have the results compared."""
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


def _broken_there(row: Compared, error: BaseException) -> str:
    return (
        f"{row.name}: at {row.revision} it raises {type(error).__name__}: {error}. Nothing can be compared with it; if "
        "that revision is broken, compare with another"
    )
