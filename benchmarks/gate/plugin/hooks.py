"""The pytest plugin: options and hooks. `fixtures` has what tests use."""

import argparse
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from ..compare import saved
from ..compare.listing import MEASURING
from ..measure import machine
from ..report.github import annotations, write_summary
from ..report.json_report import as_json
from .session import GATE, anchor_storage, choose_runs, open_gate

SELFCHECK = Path(__file__).with_name("selfcheck.py")
CONTROL_AND_CANARY = 2  # the duels by which a run proves itself, in every share of alpha


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the gate's options."""
    add = parser.getgroup("gate", "duels and saved runs").addoption
    add(
        "--budget", type=float, default=30.0, metavar="SECONDS", help="how long a duel may stay undecided (default: 30)"
    )
    add("--alpha", type=float, default=0.001, help="probability of any wrong verdict in the whole run (default: 0.001)")
    add("--duel-seed", type=int, metavar="N", help="seed of the order within pairs (default: a new one, and printed)")
    add(
        "--same-machine",
        action="store_true",
        help="with --benchmark-compare: a saved run of another machine is an error",
    )
    add("--against", metavar="REV", help="duel every variant with itself at another revision, of anything git knows")
    add(
        "--tolerance",
        type=float,
        default=3.0,
        metavar="PERCENT",
        help="with --against: the slowdown that must not be missed (default: 3)",
    )
    add(
        "--removed",
        action="append",
        default=[],
        metavar="NAME",
        help="admit that a benchmark of the saved run or the other revision is gone; may be given more than once",
    )
    add("--gate-report", type=Path, metavar="FILE", help="write what the gate found as Markdown")
    add("--gate-json", type=Path, metavar="FILE", help="write what the gate found as JSON, see gate.schema.json")
    # A fresh process's own: which side to load first ("reference" or "candidate"), and the package.
    add("--confirm", default="", help=argparse.SUPPRESS)


def pytest_configure(config: pytest.Config) -> None:
    """Set the gate up, and choose the saved run before pytest-benchmark, whose own hook comes last, loads it."""
    config.addinivalue_line("markers", "gate(tolerance, budget): --tolerance and --budget for one test of `against`")
    gate = config.stash[GATE] = open_gate(config)
    anchor_storage(config)
    if config.getoption("benchmark_compare"):
        try:
            choose_runs(config, gate)
        except saved.SavedRunError as error:
            raise pytest.UsageError(str(error)) from error
    elif config.getoption("same_machine"):
        raise pytest.UsageError("--same-machine says what --benchmark-compare may compare with: give both")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse to compare what is not going to be measured."""
    config = session.config
    benchmarks = config._benchmarksession  # type: ignore[attr-defined] # noqa: SLF001 - knows all that switches it off
    asked = [option for option in ("--against", "--benchmark-compare") if config.getoption(option)]
    if asked and (benchmarks.disabled or benchmarks.skip):
        raise pytest.UsageError(
            f"a comparison is asked for ({', '.join(asked)}) and measuring is off: by --benchmark-disable, by "
            "--benchmark-skip, or because tests run in parallel"
        )


def pytest_report_header(config: pytest.Config) -> str:
    """Say where this is measured."""
    return f"gate: {machine.summary(config.stash[GATE].machine)}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> Generator[None]:
    """Select what the run is about, and have a run that compares prove itself, whatever else was deselected."""
    gate = config.stash[GATE]
    gate.collected = [item.nodeid for item in items if MEASURING & set(getattr(item, "fixturenames", ()))]
    # Before anything is deselected: jobs that share a suite by -k share its alpha.
    duels = sum(bool({"duel", "against"} & set(getattr(item, "fixturenames", ()))) for item in items)
    gate.duels = 1 if gate.confirming else duels + CONTROL_AND_CANARY
    yield
    wanted = [item for item in items if ("against" in getattr(item, "fixturenames", ())) == bool(gate.revision)]
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    first, last = _selfchecks(session) if gate.gated else ([], [])
    items[:] = [*first, *wanted, *last]


def _selfchecks(session: pytest.Session) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Return the tests that come first and those that come last."""
    module = pytest.Module.from_parent(session, path=SELFCHECK)
    *first, last = session.genitems(module)
    return list(first), [last]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note what each part of the run took, what was skipped, and what failed."""
    report = yield
    gate = item.config.stash[GATE]
    part = _part(item)
    gate.report.took[part] = gate.report.took.get(part, 0.0) + report.duration
    if report.skipped:
        gate.skipped[item.nodeid] = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else ""
    if report.failed:
        gate.failed.add(item.nodeid)
    return report


def _part(item: pytest.Item) -> str:
    """Return what the report calls the part of the run that a test belongs to."""
    return "selfcheck" if item.path == SELFCHECK else item.path.stem.removeprefix("test_")


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Save what pytest-benchmark does not know of: the peaks of memory, for later runs to be judged by."""
    rows = config.stash[GATE].report.memory
    output_json[saved.KEY] = {"memory": {row.test: [row.reference, row.candidate] for row in rows}}


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Save what pytest-benchmark's own description lacks or has in too much detail to compare.

    And not what the machine is called: saved runs are committed, and that is nobody's business.
    """
    machine_info["node"] = ""
    machine_info["release"] = machine_info["release"].partition("-")[0]
    machine_info["gate"] = config.stash[GATE].machine


@pytest.hookimpl(tryfirst=True)
def pytest_benchmark_compare_machine_info(machine_info: dict[str, Any], compared_benchmark: dict[str, Any]) -> None:
    """Keep pytest-benchmark from warning about every other clock speed: `choose_runs` has said what matters.

    Its implementation cannot be taken out of the chain, but finds nothing to say about two equal descriptions.
    """
    machine_info.clear()
    machine_info.update(compared_benchmark["machine_info"])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the report in the forms that were asked for."""
    config, gate = session.config, session.config.stash[GATE]
    if hasattr(config, "workerinput"):  # the workers of a parallel run would write over one another
        return
    asked = [config.getoption(option) for option in ("benchmark_json", "gate_report", "gate_json")]
    gate.report.results += [str(getattr(file, "name", file)) for file in asked if file]
    for path, text in zip(asked[1:], (gate.report.markdown(), as_json(gate)), strict=True):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if gate.report and not gate.confirming:
        write_summary(gate.report)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the other revision."""
    if (gate := config.stash.get(GATE, None)) and gate.revision:
        gate.revision.close()


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> Generator[None]:
    """Show the report under pytest-benchmark's tables, even where these end in an error."""
    try:
        return (yield)
    finally:
        gate = config.stash[GATE]
        if gate.report:
            terminalreporter.section("gate" if gate.gated else "duels")
            for line in gate.report.terminal():
                terminalreporter.write_line(line)
            if gate.report.duels or gate.report.compared:
                terminalreporter.write_line(
                    f"the order within every pair can be had again with --duel-seed {gate.seed}"
                )
        for line in annotations(terminalreporter, gate.report):
            terminalreporter.write_line(line)
