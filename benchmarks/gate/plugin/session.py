"""What one pytest session knows: its settings, the saved runs it is judged by, and its report."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from pytest_benchmark.utils import get_machine_id, load_storage

from ..compare import saved
from ..compare.revision import Revision, RevisionError
from ..judge.rules import revision_questions
from ..measure import machine
from ..measure.duel import Duel, fight
from ..report.tables import Report


@dataclass
class Gate:
    """One session's settings and findings."""

    alpha: float
    budget: float
    seed: int
    machine: dict[str, Any] = field(default_factory=machine.describe)
    runs: list[saved.Run] = field(default_factory=list)
    report: Report = field(default_factory=Report)
    duels: int = 1
    peaks: dict[bytes, int] = field(default_factory=dict)
    tolerance: float = 0.03
    strict: bool = False
    revision: Revision | None = None
    confirming: str = ""
    removed: tuple[str, ...] = ()
    collected: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    fight: Callable[..., Duel] = fight

    @property
    def gated(self) -> bool:
        """Return whether this run compares, and so has to prove that it can: its confirming processes need not."""
        return bool(self.revision or self.runs) and not self.confirming

    def saved_duel(self, test: str) -> tuple[Duel | None, str]:
        """Return a test's duel in the last run that has it, and the name of that run."""
        found = [(run.duels[test], run.name) for run in self.runs if test in run.duels]
        return found[-1] if found else (None, "")

    def saved_memory(self, test: str) -> tuple[saved.Peaks | None, str]:
        """Return a test's peaks in the last run that has them, and the name of that run."""
        found = [(run.memory[test], run.name) for run in self.runs if test in run.memory]
        return found[-1] if found else (None, "")


GATE = pytest.StashKey[Gate]()


def open_gate(config: pytest.Config) -> Gate:
    """Return the session's settings from its options.

    Raises:
        UsageError: for an option that makes no sense.
    """
    alpha, budget, seed, tolerance = (config.getoption(name) for name in ("alpha", "budget", "duel_seed", "tolerance"))
    if not 0 < alpha < 1:
        raise pytest.UsageError(f"--alpha is a probability between 0 and 1, not {alpha}")
    if not budget >= 0:
        raise pytest.UsageError(f"--budget is a number of seconds, not {budget}")
    gate = Gate(alpha, budget, random.SystemRandom().getrandbits(32) if seed is None else seed)
    gate.tolerance = checked_tolerance("--tolerance", tolerance)
    gate.removed = tuple(config.getoption("removed"))
    # pytest's own flag, which from version 9 on is a setting as well, is taken to mean the gate too.
    gate.strict = bool(config.getoption("strict", default=False) or _setting(config, "strict"))
    if (name := config.getoption("against")) is not None:
        try:
            gate.revision = Revision.open(config.rootpath, name)
        except RevisionError as error:
            raise pytest.UsageError(f"--against: {error}") from error
        gate.confirming, _, package = config.getoption("confirm").partition(":")
        if gate.confirming == "reference":
            gate.revision.load(package)  # before the benchmark modules load the working tree's
    elif gate.removed and not config.getoption("benchmark_compare"):
        raise pytest.UsageError("--removed admits what a comparison misses: give --against or --benchmark-compare too")
    return gate


def _setting(config: pytest.Config, name: str) -> Any:
    try:
        return config.getini(name)
    except (KeyError, ValueError):
        return None


def checked_tolerance(where: str, percent: float) -> float:
    """Return a tolerance in per cent as a share.

    Raises:
        UsageError: where it makes no sense.
    """
    try:
        revision_questions(percent / 100)
    except (ValueError, TypeError) as error:
        raise pytest.UsageError(f"{where} (in per cent): {error}") from error
    return percent / 100


def settings(gate: Gate, node: pytest.Item) -> tuple[float, float]:
    """Return the tolerance and the budget of one test: the options, or its mark `gate(tolerance=..., budget=...)`.

    Raises:
        UsageError: for a mark that makes no sense.
    """
    tolerance, budget = gate.tolerance, gate.budget
    for mark in reversed(list(node.iter_markers("gate"))):
        if mark.args or set(mark.kwargs) - {"tolerance", "budget"}:
            raise pytest.UsageError(f"{node.nodeid}: the mark is gate(tolerance=PERCENT, budget=SECONDS), not {mark}")
        if "tolerance" in mark.kwargs:
            tolerance = checked_tolerance(f"{node.nodeid}: tolerance", mark.kwargs["tolerance"])
        budget = mark.kwargs.get("budget", budget)
    return tolerance, budget


def anchor_storage(config: pytest.Config) -> None:
    """Make a storage folder given in the configuration file relative to that file, wherever pytest was started."""
    folder = config.option.benchmark_storage.removeprefix("file://")
    given = any(str(argument).startswith("--benchmark-storage") for argument in config.invocation_params.args)
    if "://" not in folder and not given:
        config.option.benchmark_storage = f"file://{config.rootpath / folder}"


def choose_runs(config: pytest.Config, gate: Gate) -> None:
    """Read the runs that --benchmark-compare is about, and have the gate judge by those of a like machine.

    A bare --benchmark-compare is about the last run of a like machine, and where there is none, as in pytest-benchmark,
    about the last; the choice is handed on to pytest-benchmark, so that its table compares with the same.

    Raises:
        SavedRunError: for a run that was named and is not there, is damaged, or, with --same-machine, is of another
            machine; and where none is there at all while an option needs one.
    """
    option = config.option
    paths = _paths(option.benchmark_storage, option.benchmark_compare)
    if not paths:
        message = f"there is no saved run in {option.benchmark_storage} (make baseline saves one)"
        if option.benchmark_compare is not True:
            # --benchmark-compare takes the next word for itself, and that may have been meant as a path.
            message = f"no saved run matches {option.benchmark_compare!r} in {option.benchmark_storage}"
        if option.benchmark_compare is not True or option.same_machine or option.benchmark_compare_fail:
            raise saved.SavedRunError(message)
        gate.report.notes.append(f"{message}: floors only")
        option.benchmark_compare = []  # or pytest-benchmark warns, and a warning at this stage ends in a traceback
        return
    if option.benchmark_compare is True:
        runs = [saved.newest(paths, gate.machine)]
        option.benchmark_compare = str(runs[0].path)
    else:
        runs = [saved.read(path) for path in paths]
    for run in runs:
        unlike = "; ".join(machine.differences(gate.machine, run.machine))
        if not unlike:
            gate.runs.append(run)
            gate.report.notes.append(f"compared with the saved run {run.name}, of a like machine")
        elif option.same_machine:
            raise saved.SavedRunError(f"the saved run {run.path} is of another machine: {unlike}")
        else:
            gate.report.notes.append(f"the saved run {run.name} is of another machine ({unlike}): floors only")


def _paths(location: str, wanted: str | bool) -> list[Any]:
    """Return the files pytest-benchmark would consider, in its order: the last is the newest."""
    # Its functions carry no types. The storage logs nothing when it is only asked for names.
    storage = load_storage(location, logger=None, default_machine_id=get_machine_id(), netrc="")  # type: ignore[no-untyped-call]
    if not hasattr(storage, "query"):
        raise saved.SavedRunError(f"duels are read from saved files only, and {location} is something else")
    try:
        return list(storage.query("[0-9][0-9][0-9][0-9]_" if wanted is True else wanted))
    except ValueError as error:
        raise saved.SavedRunError(str(error)) from error
