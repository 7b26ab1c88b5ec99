"""pytest's hooks: options, selection, self-checks, reports. `fixtures` and `against` have what tests use."""

from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ..compare import saved
from ..compare.listing import measures
from ..compare.work.there import record
from ..measure import machine
from ..measure.duel import run_duel
from ..report.dependencies import environments
from ..report.findings import Failure
from ..report.github import annotations, message_of, write_summary
from ..report.tables import terminal
from . import hookspecs
from .benchmarks import claim
from .compared import open_revision, open_sides
from .documents import write_files
from .requested import is_named
from .saved_runs import anchor_storage, choose_runs
from .session import CANARY, CONTROL, SESSION, Session
from .settings import read_settings
from .side import Link
from .turns import Turns, run_test
from .work import Works

SELFCHECK = Path(__file__).with_name("selfcheck.py")
AGAINST = {"against", "against_memory", "against_start"}  # those that need another revision
DUELS = {"duel", "against", "against_start", "share"}  # the fixtures that take a share of alpha
UNUSED = pytest.StashKey[bool]()  # of a test that got pytest-benchmark's fixture from its mark and does not use it


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the gate's hooks."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Open the session, and choose the saved run before pytest-benchmark loads it in its own hook, the last one."""
    config.addinivalue_line("markers", "gate(tolerance, blind, budget, clock): options for one test of `against`")
    config.addinivalue_line("markers", "measures: a test that measures time without the fixtures of a benchmark")
    config.addinivalue_line("markers", "full: a benchmark of the full run only, see --full")
    settings = read_settings(config)
    runner = config.hook.pytest_gate_runner(config=config) or run_duel
    session = Session(settings, machine.describe(), runner)
    config.stash[SESSION] = session
    open_revision(config, session)
    if (descriptor := config.getoption("gate_side")) is not None:
        session.link = Link(descriptor)
        config.pluginmanager.register(session.link)
    anchor_storage(config)
    if config.getoption("benchmark_compare"):
        try:
            choose_runs(config, session)
        except saved.SavedRunError as error:
            raise pytest.UsageError(str(error)) from error
    elif config.getoption("same_machine"):
        raise pytest.UsageError("--same-machine restricts --benchmark-compare: add that")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse to compare with measuring off, and make what a comparison needs."""
    config = session.config
    asked = [option for option in ("--against", "--benchmark-compare") if config.getoption(option)]
    if asked and _unmeasured(config):
        raise pytest.UsageError(
            f"a comparison is asked for ({', '.join(asked)}) and measuring is off: by --benchmark-disable, by "
            "--benchmark-skip, or because tests run in parallel"
        )
    if not config.getoption("collectonly"):
        open_sides(config, config.stash[SESSION])


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Describe the machine, and what is compared."""
    gate = config.stash[SESSION]
    compared = [f"{gate.revision.here()} against {gate.revision}"] if gate.revision else []
    dependencies = environments(gate.findings.environments)
    return [f"gate: {line}" for line in (machine.summary(gate.machine), *compared, *dependencies)]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> Generator[None]:
    """Count the suite's duels, select the tests of this run, and add the self-checks to a run that compares."""
    gate, collected = config.stash[SESSION], list(items)
    for item in items:
        # pytest-benchmark decides by this name what --benchmark-skip and --benchmark-only are about: peak memory too.
        if measures(item) and "benchmark" not in _fixtures(item):
            # A list of its own: the tests of a parametrised function share theirs.
            item.fixturenames = [*_fixtures(item), "benchmark"]  # type: ignore[attr-defined] # a function's
            item.stash[UNUSED] = True
    gate.collected = frozenset(item.nodeid for item in items if measures(item))
    gate.full = frozenset(item.nodeid for item in items if measures(item) and item.get_closest_marker("full"))
    # Counted before any test is deselected: jobs that split a suite with -k share its alpha.
    duels = sum(bool(DUELS & set(_fixtures(item))) for item in items)
    gate.duels = 1 if gate.settings.confirming else duels + len((CONTROL, CANARY))
    yield
    asked = config.hook.pytest_gate_compares_work(config=config) is not False
    if gate.acknowledged.entries and asked and not session.testsfailed:  # else the collection says what is wrong
        gate.acknowledged.assign(config, gate.settings, collected)
    wanted = [item for item in items if AGAINST.isdisjoint(_fixtures(item)) != gate.compares]
    if not gate.settings.starts:
        wanted = [item for item in wanted if "against_start" not in _fixtures(item)]
    if not (gate.compares or gate.settings.full):
        # Where nothing is measured, what is marked and measures nothing is one more test of correctness.
        marked = (
            gate.full if _unmeasured(config) else frozenset(i.nodeid for i in items if i.get_closest_marker("full"))
        )
        gate.left_out = frozenset(test for test in marked if not is_named(test, config))
        wanted = [item for item in wanted if item.nodeid not in gate.left_out]
        if gate.left_out and not _unmeasured(config):
            gate.findings.remarks.append(
                f"left out, because they belong to the full run (--full): {len(gate.left_out)}"
            )
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    if gate.revision and asked and not gate.settings.confirming:
        run = partial(record, gate.revision, **gate.of_revision())
        gate.works = Works.of(
            config,
            gate.revision,
            gate.settings.removed,
            wanted=wanted,
            others=collected,
            record=run,
            silent=[gate.acknowledged.file],
        )
    first, last = _selfchecks(session) if gate.gated else ([], [])
    items[:] = [*first, *wanted, *last]
    if gate.revision and gate.settings.minutes is not None:
        gate.turns = Turns.of(gate.settings.minutes, (item.nodeid for item in wanted if "against" in _fixtures(item)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test with the fixture `against`: where duels take turns it may run again, before the last self-check."""
    turns = item.config.stash[SESSION].turns
    if turns is None or "against" not in _fixtures(item):
        return None
    if run_test(item, nextitem, turns, before=1):
        findings = item.config.stash[SESSION].findings
        findings.notes = [note for note in findings.notes if note.test != item.nodeid]
        findings.series = [series for series in findings.series if series.test != item.nodeid]
    return True


def _unmeasured(config: pytest.Config) -> bool:
    """Return whether measuring is off."""
    benchmarks = config._benchmarksession  # type: ignore[attr-defined] # noqa: SLF001 - it knows every reason for "off"
    return bool(benchmarks.disabled or benchmarks.skip)


def _fixtures(item: pytest.Item) -> list[str]:
    names: list[str] = getattr(item, "fixturenames", [])
    return names


def _selfchecks(session: pytest.Session) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Return the tests that come first and those that come last."""
    module = pytest.Module.from_parent(session, path=SELFCHECK)
    *first, last = session.genitems(module)
    return list(first), [last]


@pytest.hookimpl(trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Use pytest-benchmark's fixture on behalf of a test that measures without it, or it warns that nothing did."""
    if item.stash.get(UNUSED, False):
        claim(item.funcargs["benchmark"])  # type: ignore[attr-defined] # a function's, as it has fixtures


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note the time of each part of the run, and what was skipped and what failed."""
    report = yield
    gate = item.config.stash[SESSION]
    part = "selfcheck" if item.path == SELFCHECK else item.path.stem.removeprefix("test_")
    gate.findings.took[part] = gate.findings.took.get(part, 0.0) + report.duration
    gate.seconds[item.nodeid] = gate.seconds.get(item.nodeid, 0.0) + report.duration
    if report.skipped and not (gate.turns and item.nodeid in gate.turns.deferred):
        gate.skipped[item.nodeid] = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else ""
    if report.failed:
        gate.failed.add(item.nodeid)
        gate.findings.failures.append(Failure(item.nodeid, message_of(report)))
    if report.when == "call" and item.get_closest_marker("measures") and not report.skipped:
        gate.measured.add(item.nodeid)
    return report


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Save what pytest-benchmark does not know, for later runs: memory peaks, notes, and the tests that measure."""
    gate = config.stash[SESSION]
    notes: dict[str, list[dict[str, Any]]] = {}
    for note in gate.findings.notes:
        notes.setdefault(note.test, []).append({"name": note.name, "value": note.value, "unit": note.unit})
    output_json[saved.KEY] = {
        "memory": {row.test: [row.reference, row.candidate] for row in gate.findings.memory},
        "measures": sorted(gate.measured),
        "full": sorted(gate.full),
        "seconds": {test: round(seconds, 3) for test, seconds in gate.seconds.items()},
        "notes": notes,
    }


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Save the gate's description of the machine, and remove the host's name: saved runs are committed."""
    machine_info["node"] = ""
    machine_info["release"] = machine_info["release"].partition("-")[0]
    machine_info["gate"] = config.stash[SESSION].machine


@pytest.hookimpl(tryfirst=True)
def pytest_benchmark_compare_machine_info(machine_info: dict[str, Any], compared_benchmark: dict[str, Any]) -> None:
    """Keep pytest-benchmark from warning about each other clock speed: `choose_runs` reports the differences.

    Its own implementation cannot be removed, but finds nothing to say about two equal descriptions.
    """
    machine_info.clear()
    machine_info.update(compared_benchmark["machine_info"])


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the report in the requested forms."""
    config, gate = session.config, session.config.stash[SESSION]
    # Workers of a parallel run, and the processes of the two sides, would overwrite this one's files.
    if hasattr(config, "workerinput") or gate.link:
        return
    gate.acknowledged.conclude(gate.findings)
    write_files(config, gate, exitstatus)
    if gate.findings and not gate.settings.confirming:
        write_summary(gate.findings)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the processes of the two sides, and remove the other revision."""
    if gate := config.stash.get(SESSION, None):
        if gate.pairs:
            gate.pairs.close()
        if gate.revision:
            gate.revision.close()


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> Generator[None]:
    """Show the report below pytest-benchmark's tables, even if these end in an error."""
    try:
        return (yield)
    finally:
        gate = config.stash[SESSION]
        if gate.findings:
            terminalreporter.section("gate" if gate.gated else "duels")
            for line in terminal(gate.findings, terminalreporter._tw.fullwidth):  # noqa: SLF001 - as pytest sees it
                terminalreporter.write_line(line)
            if gate.findings.duels or gate.findings.compared:
                terminalreporter.write_line(f"--duel-seed {gate.settings.seed} repeats the order within every pair")
        for line in annotations(terminalreporter, gate.findings):
            terminalreporter.write_line(line)
