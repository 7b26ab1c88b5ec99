"""The pytest plugin: options, hooks and the fixtures `duel`, `peak_memory` and `ceiling`."""

import pickle
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.logger import Logger
from pytest_benchmark.utils import get_machine_id, load_storage

from benchmarks.gate import machine, memory, saved
from benchmarks.gate.duel import Check, Duel, Work, fight
from benchmarks.gate.judge import Judged, questions
from benchmarks.gate.report import Memory, Report


@dataclass
class Gate:
    """One session's settings, the saved runs it is judged by, and its report."""

    alpha: float
    budget: float
    seed: int
    machine: dict[str, Any]
    runs: list[saved.Run] = field(default_factory=list)
    report: Report = field(default_factory=Report)
    duels: int = 1
    peaks: dict[bytes, int] = field(default_factory=dict)

    def saved_duel(self, test: str) -> tuple[Duel | None, str]:
        """Return the last saved duel of a test, and the name of its run."""
        found = [(run.duels[test], run.name) for run in self.runs if test in run.duels]
        return found[-1] if found else (None, "")


GATE = pytest.StashKey[Gate]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the gate's options."""
    group = parser.getgroup("gate", "duels and saved runs")
    add = group.addoption
    add(
        "--budget",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="longest time for a duel to be undecided (default: 30)",
    )
    add("--alpha", type=float, default=0.001, help="probability of any wrong verdict in the whole run (default: 0.001)")
    add(
        "--duel-seed",
        type=int,
        metavar="N",
        help="seed of the order within pairs (default: a new one, which is printed)",
    )
    add(
        "--same-machine",
        action="store_true",
        help="with --benchmark-compare: a run saved on an unlike machine is an error",
    )
    add("--gate-report", type=Path, metavar="FILE", help="write the report as Markdown")


def pytest_configure(config: pytest.Config) -> None:
    """Set the gate up, and choose the saved run before pytest-benchmark, whose own hook comes last, loads it."""
    alpha, budget, seed = (config.getoption(name) for name in ("alpha", "budget", "duel_seed"))
    if not 0 < alpha < 1:
        raise pytest.UsageError(f"--alpha is a probability between 0 and 1, not {alpha}")
    if budget < 0:
        raise pytest.UsageError(f"--budget is a number of seconds, not {budget}")
    seed = random.SystemRandom().getrandbits(32) if seed is None else seed
    gate = config.stash[GATE] = Gate(alpha, budget, seed, machine.describe())
    anchor_storage(config)
    if config.getoption("benchmark_compare"):
        try:
            choose_runs(config, gate)
        except saved.SavedRunError as error:
            raise pytest.UsageError(str(error)) from error
    elif config.getoption("same_machine"):
        raise pytest.UsageError("--same-machine says what --benchmark-compare may compare with; give both")


def anchor_storage(config: pytest.Config) -> None:
    """Make a relative storage folder from the configuration file relative to that file, not to where pytest was started."""
    storage = config.option.benchmark_storage.removeprefix("file://")
    given = any(str(argument).startswith("--benchmark-storage") for argument in config.invocation_params.args)
    if "://" not in storage and not given:
        config.option.benchmark_storage = f"file://{config.rootpath / storage}"


def choose_runs(config: pytest.Config, gate: Gate) -> None:
    """Read the runs --benchmark-compare is about, and keep those of a like machine.

    A bare --benchmark-compare means pytest-benchmark's last file here only where no run of a like machine is found.

    Raises:
        SavedRunError: for a run that was named and is not there, is damaged, or, with --same-machine, is of another machine.
    """
    wanted = config.option.benchmark_compare
    location = config.option.benchmark_storage
    storage = load_storage(location, logger=Logger(Logger.QUIET), default_machine_id=get_machine_id(), netrc="")
    if not hasattr(storage, "query"):
        raise saved.SavedRunError(f"the gate reads runs saved in files only, and not in {location}")
    try:
        paths = storage.query("[0-9][0-9][0-9][0-9]_" if wanted is True else wanted)
    except ValueError as error:
        raise saved.SavedRunError(str(error)) from error
    if not paths:
        message = f"there is no saved run{'' if wanted is True else f' {wanted}'} in {storage}"
        if wanted is not True or config.option.same_machine or config.option.benchmark_compare_fail:
            raise saved.SavedRunError(message)
        gate.report.notes.append(f"{message}: floors only (make baseline saves one)")
        config.option.benchmark_compare = []  # pytest-benchmark would warn, and warnings are errors
        return
    runs = [saved.newest(paths, gate.machine)] if wanted is True else [saved.read(path) for path in paths]
    if wanted is True:
        config.option.benchmark_compare = str(runs[0].path)
    for run in runs:
        unlike = "; ".join(machine.differences(gate.machine, run.machine))
        if not unlike:
            gate.runs.append(run)
            gate.report.notes.append(f"saved run {run.name}: like machine")
        elif config.option.same_machine:
            raise saved.SavedRunError(f"the saved run {run.path} is of another machine: {unlike}")
        else:
            gate.report.notes.append(
                f"saved run {run.name} is of another machine: {unlike}; it judges nothing, floors only"
            )


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse to compare what is not going to be measured."""
    config = session.config
    benchmarks = config._benchmarksession  # type: ignore[attr-defined] # noqa: SLF001 - alone knows what switches measuring off
    if config.getoption("benchmark_compare") and (benchmarks.disabled or benchmarks.skip):
        raise pytest.UsageError(
            "--benchmark-compare is asked for, but measuring is off (--benchmark-disable, -skip, or xdist)"
        )


def pytest_report_header(config: pytest.Config) -> str:
    """Say where and how this is measured."""
    gate = config.stash[GATE]
    return f"gate: {machine.summary(gate.machine)}; --duel-seed {gate.seed}"


def pytest_collection_finish(session: pytest.Session) -> None:
    """Count the duels that share alpha."""
    session.config.stash[GATE].duels = sum("duel" in getattr(item, "fixturenames", ()) for item in session.items) or 1


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Save what pytest-benchmark's own description lacks, or has in too much detail to compare."""
    machine_info["gate"] = config.stash[GATE].machine


@pytest.hookimpl(tryfirst=True)
def pytest_benchmark_compare_machine_info(machine_info: dict[str, Any], compared_benchmark: dict[str, Any]) -> None:
    """Keep pytest-benchmark from warning about every other clock speed: `choose_runs` has said what matters.

    Its implementation cannot be taken out of the chain; one that finds both descriptions equal says nothing.
    """
    machine_info.clear()
    machine_info.update(compared_benchmark["machine_info"])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the Markdown report."""
    config, report = session.config, session.config.stash[GATE].report
    path, results = config.getoption("gate_report"), config.getoption("benchmark_json")
    if results and report.duels:
        report.results.append(str(results))
    if path:
        report.results.append(str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(report.markdown(), encoding="utf-8")


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> Generator[None]:
    """Show the report under pytest-benchmark's tables, even where these end in an error."""
    try:
        return (yield)
    finally:
        gate = config.stash[GATE]
        if gate.report:
            terminalreporter.section("duels")
            for line in gate.report.terminal():
                terminalreporter.write_line(line)
            terminalreporter.write_line(f"to repeat the order of every pair: --duel-seed {gate.seed}")


def display_name(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Return the case, and the test's name with it."""
    case = request.node.path.stem.removeprefix("test_")
    return case, f"{case} {request.node.name}"


@pytest.fixture
def duel(request: pytest.FixtureRequest, benchmark: Any) -> Callable[..., Duel]:
    """Duel two callables, once per test: `duel(reference, candidate, *, floor=None, check=None, budget=None) -> Duel`.

    Both take no arguments. `floor` is the least ratio time(reference) / time(candidate), `check` is called with both results
    after every pair and raises AssertionError for a wrong one, `budget` is in seconds (default: --budget). The candidate's
    times are this test's rounds in pytest-benchmark. With --benchmark-disable each runs once and nothing is judged.

    Raises:
        AssertionError: where the floor is disproved, or not proven within the budget, or a like machine's saved run was faster.
    """
    gate = request.config.stash[GATE]
    case, name = display_name(request)
    if benchmark.group is None:
        benchmark.group = f"{case} duels"

    def run(
        reference: Work,
        candidate: Work,
        *,
        floor: float | None = None,
        check: Check | None = None,
        budget: float | None = None,
    ) -> Duel:
        if claim(benchmark).disabled:
            results = reference(), candidate()
            if check:
                check(*results)
            gate.report.unmeasured.append(name)
            return Duel.unmeasured(name)
        before, origin = gate.saved_duel(request.node.nodeid)
        found = fight(
            name,
            reference,
            candidate,
            questions(floor, before),
            alpha=gate.alpha / gate.duels,
            budget=gate.budget if budget is None else budget,
            seed=random.Random(f"{gate.seed} {request.node.nodeid}").getrandbits(32),
            check=check,
        )
        judged = Judged(found, floor, before, origin)
        gate.report.duels.append(judged)
        record(benchmark, found)
        failure = judged.failure()
        if failure:
            raise AssertionError(failure)
        return found

    return run


def claim(benchmark: Any) -> Any:
    """Mark pytest-benchmark's fixture as used, and refuse a second use, which alpha is not split for.

    This and `record` are the one use of its private API; tests/gate/test_plugin.py notices when that changes.
    """
    if benchmark._mode:  # noqa: SLF001 - see above
        raise RuntimeError(f"one measurement per test: the benchmark fixture was used already, by {benchmark._mode}")  # noqa: SLF001
    benchmark._mode = "duel(...)"  # noqa: SLF001 - or it warns that the fixture was not used
    return benchmark


def record(benchmark: Any, found: Duel) -> None:
    """Hand a duel's candidate to pytest-benchmark as this test's rounds, and its summary as extra_info["duel"]."""
    stats = benchmark._make_stats(found.iterations)  # noqa: SLF001 - it has no public way to take times from elsewhere
    for seconds in found.candidate_batches:
        stats.update(seconds)
    benchmark.extra_info["duel"] = found.to_dict()


@pytest.fixture(name="peak_memory")
def peak_memory_fixture(request: pytest.FixtureRequest) -> Callable[..., int]:
    """Weigh a function in a fresh process: `peak_memory(function, *args, prepare=None) -> int`, in bytes; see `memory`.

    A result is kept for the session, so that a baseline is run once for all that are compared with it.
    """
    peaks = request.config.stash[GATE].peaks

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
def ceiling(request: pytest.FixtureRequest) -> Callable[[int, int, float], None]:
    """Assert candidate / reference <= limit: `ceiling(reference_bytes, candidate_bytes, limit)`.

    Raises:
        AssertionError: where it is more, or where the reference used no memory that could be measured.
    """
    gate = request.config.stash[GATE]

    def check(reference_bytes: int, candidate_bytes: int, limit: float) -> None:
        assert reference_bytes > 0, (
            f"{display_name(request)[1]}: the reference used no measurable memory; make its input larger"
        )
        row = Memory(display_name(request)[1], reference_bytes, candidate_bytes, limit)
        gate.report.memory.append(row)
        assert row.ratio <= limit, (
            f"{row}. Find what holds on to more memory, or raise the ceiling and say why beside it."
        )

    return check
