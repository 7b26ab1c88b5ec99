"""How each ratio changed over the saved runs of like machines.

Runs are alike if `machine.differences` finds none and the processors are of one family and model. The second is asked
here because the first reads a name that a hypervisor may give to several processors: the saved runs 0004 and 0005 of
this repository are both of an "AMD EPYC", a Zen 5 and a Zen 4.
"""

import datetime as dt
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..measure import machine
from ..measure.duel import Duel
from .saved import Peaks, Run, SavedRunError, read

KEPT = 200  # runs in a folder that `keep` fills
# Peaks of unchanged code differed by up to 1.5 MiB (METHODOLOGY, "Peak memory"): what a memory ratio is uncertain by.
MEMORY_ERROR = 1.5 * 1024 * 1024

Kind = Literal["time", "memory"]


@dataclass(frozen=True)
class Point:
    """One ratio of one run.

    Attributes:
        run: the place of its run in the group's `runs`.
        ratio: times faster, or the share of the reference's peak memory.
        interval: of the ratio within its run; None for memory.
        error: what the logarithm of a memory ratio is uncertain by. That of a time is 0: how much runs differ shows it.
    """

    run: int
    ratio: float
    interval: tuple[float, float] | None
    error: float


@dataclass(frozen=True)
class History:
    """One ratio over the runs that have it, oldest first. A renamed test ends one history and begins another."""

    test: str
    kind: Kind
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Group:
    """The runs of like machines, oldest first, and what they show.

    Attributes:
        machine: in words, by what makes machines alike.
        runs: by the date of the commit and, for one commit, of the run.
        histories: by test, times first.
    """

    machine: str
    runs: tuple[Run, ...]
    histories: tuple[History, ...]


def find_runs(storages: Iterable[Path], files: Iterable[Path] = ()) -> tuple[list[Run], list[str]]:
    """Read all runs in pytest-benchmark's storages and in single files, oldest first.

    A run that is there twice counts once. Those that cannot be used are named, with the reason, and do not stop the
    rest.

    Returns:
        The runs, and one sentence for each that was left out.
    """
    paths = [path for storage in storages for path in sorted(storage.rglob("*.json"))]
    runs: dict[tuple[object, ...], Run] = {}
    left_out = []
    for path in [*paths, *files]:
        try:
            run = read(path)
        except SavedRunError as error:
            left_out.append(str(error))
            continue
        if run.machine is None:
            left_out.append(f"the saved run {path} has no description of its machine: it was not made with this gate")
        elif run.origin.saved is None:
            left_out.append(f"the saved run {path} has no date")
        else:
            runs.setdefault(_identity(run), run)
    return sorted(runs.values(), key=_age), left_out


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Return the groups of like machines; that of the newest run first."""
    alike: defaultdict[tuple[str, ...], list[Run]] = defaultdict(list)
    for run in runs:
        alike[_likeness(run)].append(run)
    groups = [Group(_machine(key), tuple(members), tuple(_histories(members))) for key, members in alike.items()]
    return sorted(groups, key=lambda group: _age(group.runs[-1]), reverse=True)


def keep(runs: Iterable[Run], folder: Path) -> None:
    """Add runs to a folder, without their single times, and drop the oldest files if there are more than `KEPT`."""
    folder.mkdir(parents=True, exist_ok=True)
    for run in runs:
        target = folder / f"{_saved(run):%Y%m%dT%H%M%S%f}_{run.origin.commit[:12] or 'unknown'}.json"
        if target.exists():
            continue
        content = json.loads(run.path.read_text(encoding="utf-8"))
        for benchmark in content["benchmarks"]:
            benchmark.get("stats", {}).pop("data", None)
        part = target.with_suffix(".part")
        part.write_text(json.dumps(content), encoding="utf-8")
        part.replace(target)
    for path in sorted(folder.glob("*.json"))[:-KEPT]:
        path.unlink()


def _identity(run: Run) -> tuple[object, ...]:
    return run.origin.commit, run.origin.saved, *_likeness(run)


def _saved(run: Run) -> dt.datetime:
    if run.origin.saved is None:
        raise AssertionError("runs without a date are left out")
    return run.origin.saved.astimezone(dt.UTC)


def _age(run: Run) -> tuple[dt.datetime, dt.datetime, str]:
    return run.origin.committed or _saved(run), _saved(run), run.name


def _likeness(run: Run) -> tuple[str, ...]:
    return *machine.likeness(run.machine or {}).values(), *run.origin.cpu


def _machine(likeness: tuple[str, ...]) -> str:
    values = dict(zip(machine.ALIKE, likeness, strict=False))
    cpu = likeness[len(machine.ALIKE) :]
    family = f" (family {cpu[1]}, model {cpu[2]})" if cpu else ""
    gpus = "" if values["gpus"] == machine.in_short([]) else f"{values['gpus']}, "
    return (
        f"{values['processor']}{family}, {values['cores']} cores, {values['instruction_sets']}, {gpus}"
        f"Python {values['python']}, torch {values['torch']}"
    )


def _histories(runs: Sequence[Run]) -> Iterable[History]:
    times: defaultdict[str, list[Point]] = defaultdict(list)
    memory: defaultdict[str, list[Point]] = defaultdict(list)
    for place, run in enumerate(runs):
        for test, duel in run.duels.items():
            if math.isfinite(duel.ratio) and duel.ratio > 0:
                times[test].append(_time_point(place, duel))
        for test, peaks in run.memory.items():
            # A test that compares a variant with itself records its peak: that ratio is one, and no history.
            if peaks.reference > 0 and peaks.candidate > 0 and peaks.reference != peaks.candidate:
                memory[test].append(_memory_point(place, peaks))
    for test, points in sorted(times.items()):
        yield History(test, "time", tuple(points))
    for test, points in sorted(memory.items()):
        yield History(test, "memory", tuple(points))


def _time_point(place: int, duel: Duel) -> Point:
    low, high = duel.interval
    return Point(place, duel.ratio, (low, high) if 0 < low <= high < math.inf else None, 0.0)


def _memory_point(place: int, peaks: Peaks) -> Point:
    error = math.hypot(MEMORY_ERROR / peaks.reference, MEMORY_ERROR / peaks.candidate)
    return Point(place, peaks.candidate / peaks.reference, None, error)
