"""The pytest plugin: options and hooks. `fixtures` has what tests use."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gate import machine, saved
from benchmarks.gate.session import GATE, anchor_storage, choose_runs, open_gate

pytest_plugins = ["benchmarks.gate.fixtures", "benchmarks.gate.profiling"]


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
    add("--gate-report", type=Path, metavar="FILE", help="write the duels and ceilings as Markdown")


def pytest_configure(config: pytest.Config) -> None:
    """Set the gate up, and choose the saved run before pytest-benchmark, whose own hook comes last, loads it."""
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
    benchmarks = session.config._benchmarksession  # type: ignore[attr-defined] # noqa: SLF001 - knows all that switches it off
    if session.config.getoption("benchmark_compare") and (benchmarks.disabled or benchmarks.skip):
        raise pytest.UsageError(
            "a comparison is asked for (--benchmark-compare) and measuring is off: by --benchmark-disable, by "
            "--benchmark-skip, or because tests run in parallel"
        )


def pytest_report_header(config: pytest.Config) -> str:
    """Say where this is measured."""
    return f"gate: {machine.summary(config.stash[GATE].machine)}"


def pytest_collection_finish(session: pytest.Session) -> None:
    """Count the duels that share alpha."""
    duels = sum("duel" in getattr(item, "fixturenames", ()) for item in session.items)
    session.config.stash[GATE].duels = max(duels, 1)


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
    """Write the Markdown report."""
    config, report = session.config, session.config.stash[GATE].report
    path = config.getoption("gate_report")
    report.results += [str(file) for file in (config.getoption("benchmark_json"), path) if file]
    if path and not hasattr(config, "workerinput"):  # the workers of a parallel run would write over one another
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
            if gate.report.duels:
                terminalreporter.write_line(
                    f"the order within every pair can be had again with --duel-seed {gate.seed}"
                )
