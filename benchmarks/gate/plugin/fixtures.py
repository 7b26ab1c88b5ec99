"""The fixtures `duel`, `rounds`, `share`, `peak_memory`, `ceiling`, `note` and `series`."""

import pickle
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from ..judge.memory import MemoryRow
from ..judge.rules import JudgedDuel, questions
from ..measure import memory
from ..measure.duel import Check, Duel
from ..measure.rounds import Rounds
from ..measure.share import Share, prove_share
from ..measure.timing import Work
from ..report.findings import Note, Series
from ..report.words import duel_failure, memory_failure, share_failure
from .benchmarks import claim, plain, record
from .progress import progress_of
from .session import SESSION, Runner


@pytest.fixture
def duel(request: pytest.FixtureRequest, benchmark: Any) -> Callable[..., Duel]:
    """Duel two callables, once per test: `duel(reference, candidate, *, floor=None, check=None, budget=None) -> Duel`.

    Both take no arguments; or the reference is what the fixture `rounds` made, and the candidate a name in it. `floor`
    is the least ratio time(reference) / time(candidate). `check` is called with both results after every pair and
    raises AssertionError if they are wrong. `budget` is in seconds (default: --budget). The candidate's times become
    this test's rounds in pytest-benchmark. With --benchmark-disable each side runs once, the results are checked, and
    nothing is judged.

    Raises:
        AssertionError: The floor is disproved, or not proven within the budget; the candidate is slower than in the
            saved run of a like machine; or `check` failed.
    """
    session = request.config.stash[SESSION]
    case, name = names(request)
    if benchmark.group is None:
        benchmark.group = f"{case} duels"

    def run(
        reference: Work | Rounds,
        candidate: Work | str,
        *,
        floor: float | None = None,
        check: Check | None = None,
        budget: float | None = None,
    ) -> Duel:
        __tracebackhide__ = True
        claim(benchmark)
        if benchmark.disabled:
            _run_once(reference, candidate, check)
            session.findings.unmeasured.append(name)
            return Duel.unmeasured(name)
        saved, run_name = session.saved_duel(request.node.nodeid)
        measure, sides = _measuring(session.runner, reference, candidate)
        result = measure(
            name,
            *sides,
            questions(floor, saved),
            alpha=session.alpha,
            budget=session.settings.floor_budget if budget is None else budget,
            seed=session.seed(request.node.nodeid),
            check=check,
            progress=progress_of(request.config, name),
        )
        row = JudgedDuel(request.node.nodeid, result, floor, saved, run_name)
        session.findings.duels.append(row)
        record(benchmark, result)
        if failure := duel_failure(row):
            raise AssertionError(failure)
        return result

    return run


def _measuring(runner: Runner, reference: Work | Rounds, candidate: Any) -> tuple[Callable[..., Duel], tuple[Any, ...]]:
    """Return what measures a duel, and the sides that it takes after the name."""
    return (reference.duel, (candidate,)) if isinstance(reference, Rounds) else (runner, (reference, candidate))


def _run_once(reference: Work | Rounds, candidate: Any, check: Check | None) -> None:
    __tracebackhide__ = True
    if isinstance(reference, Rounds):
        reference.warm_up(candidate, check)
        return
    results = reference(), candidate()
    if check:
        check(*results)


@pytest.fixture(scope="session")
def rounds() -> type[Rounds]:
    """Measure several candidates with one reference that takes long: `rounds(reference, {name: work}, prepare=None)`.

    Each of their duels is a test of its own, `duel(them, name)`. Together they call the reference as often as one of
    them would alone. `prepare` is called before each round, outside the timing. Each timing is of a single call: for
    calls of less than a millisecond there is `duel` without rounds.
    """
    return Rounds


@pytest.fixture
def share(request: pytest.FixtureRequest, note: Callable[..., None]) -> Callable[..., Share]:
    """Prove how often something holds, once per test: `share(outcomes, *, least, budget=None) -> Share`.

    `outcomes` are drawn one by one, true or false or shares of their own, until it is proven that their mean is more
    than `least`, or less, or `budget` seconds are over (default: --budget). The error is that of a duel. The test has
    the mark `measures`. With --benchmark-disable one outcome is drawn, and nothing is judged.

    Raises:
        AssertionError: The share is less than `least`, or that it is more is not proven.
    """
    session = request.config.stash[SESSION]
    _, name = names(request)
    proven: list[Share] = []

    def prove(outcomes: Iterable[float], *, least: float, budget: float | None = None) -> Share:
        __tracebackhide__ = True
        if proven:
            raise RuntimeError("one proof per test: alpha is not split for a second one")
        measuring = not request.config.getoption("benchmark_disable")
        seconds = session.settings.floor_budget if budget is None else budget
        proven.append(prove_share(outcomes, least=least, alpha=session.alpha, budget=seconds if measuring else 0.0))
        note("held", proven[0].value, "share")
        note("trials", proven[0].trials)
        if measuring and (failure := share_failure(name, proven[0], session.alpha)):
            raise AssertionError(failure)
        return proven[0]

    return prove


@pytest.fixture(name="peak_memory")
def _peak_memory(request: pytest.FixtureRequest) -> Callable[..., int]:
    """Measure a function in a fresh process: `peak_memory(function, *args, prepare=None) -> int`, in bytes.

    `measure.memory` describes what counts. A result is kept for the session, by function and arguments, so that a
    baseline runs once for all that are compared with it. Skips the test if the system has no such reading.
    """
    peaks = request.config.stash[SESSION].peaks

    def measure(function: Callable[..., object], *args: object, prepare: Callable[[], object] | None = None) -> int:
        key = pickle.dumps((function, args))
        if key not in peaks:
            try:
                peaks[key] = memory.peak_memory(function, *args, prepare=prepare)
            except memory.UnmeasurableError as error:
                pytest.skip(str(error))
        return peaks[key]

    return measure


@pytest.fixture
def ceiling(request: pytest.FixtureRequest) -> Callable[[int, int, float | None], None]:
    """Assert candidate / reference <= limit: `ceiling(reference_bytes, candidate_bytes, limit)`.

    With `limit` None both peaks are recorded and not judged.

    Raises:
        AssertionError: The ratio is higher; the candidate takes more memory than in the saved run of a like machine; or
            the reference used no measurable memory.
    """
    session = request.config.stash[SESSION]
    _, name = names(request)

    def check(reference_bytes: int, candidate_bytes: int, limit: float | None) -> None:
        __tracebackhide__ = True
        if reference_bytes <= 0:
            raise AssertionError(f"{name}: the reference used no measurable memory; make its input larger")
        test = request.node.nodeid
        saved, run_name = session.saved_memory(test)
        row = MemoryRow(
            name, test, reference_bytes, candidate_bytes, limit, saved, run_name, params=params_of(request.node)
        )
        session.findings.memory.append(row)
        if failure := memory_failure(row):
            raise AssertionError(failure)

    return check


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Record a number: `note(name, value, unit="")`, any number of times per test.

    It is shown below the report's tables (one line per test), in --gate-json, and saved with the run. Seconds ("s"),
    bytes ("B") and shares ("share") are shown as 93 ms, 1.5 MiB and 99.93%; any other unit follows its number.
    """
    findings = request.config.stash[SESSION].findings
    test = request.node.nodeid

    def record_note(name: str, value: float, unit: str = "") -> None:
        number = Note(test, name, float(value), unit)
        findings.titles.setdefault(test, names(request)[1])
        findings.notes.append(number)
        if benchmark := request.node.funcargs.get("benchmark"):
            saved = {"name": number.name, "value": number.value, "unit": number.unit}
            benchmark.extra_info.setdefault("notes", []).append(saved)

    return record_note


@pytest.fixture
def series(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Record a list of numbers in their order: `series(name, values, unit="")`, any number of times per test.

    It is in --gate-json and a plot on the page (--gate-html). Infinity stands for what did not happen, such as the
    answer to a request that was refused.
    """
    findings = request.config.stash[SESSION].findings
    test = request.node.nodeid

    def record_series(name: str, values: Iterable[float], unit: str = "") -> None:
        findings.series.append(Series(test, name, tuple(map(float, values)), unit))

    return record_series


def params_of(node: Any) -> dict[str, Any]:
    """Return the parameters of a test in JSON types."""
    return plain(node.callspec.params) if hasattr(node, "callspec") else {}


def names(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Return the case, and the test's name in the report."""
    case = request.node.path.stem.removeprefix("test_")
    return case, f"{case} {request.node.name}"
