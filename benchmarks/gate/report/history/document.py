"""The histories and their change points as one JSON document, from which everything else is drawn."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from ...compare.history import Group, History
from ...compare.saved import Run
from ...judge.changes import ALPHA, FEWEST, LEAST, Change, Changes, LibraryMissingError, find_changes
from ...measure import machine

VERSION = 1
DECIDE_SPEED = ("python_full", *machine.LIBRARIES)  # what may differ between like machines


def as_document(groups: Sequence[Group], left_out: Sequence[str] = ()) -> dict[str, Any]:
    """Return the histories of all groups, with what could not be read or marked as `remarks`.

    `point` counts the points of one history, `run` the runs of the group; both from zero, oldest first.
    """
    remarks = list(left_out)
    found: dict[int, Changes] = {}
    try:
        for group in groups:
            for history in group.histories:
                found[id(history)] = find_changes(
                    [point.ratio for point in history.points], [point.error for point in history.points]
                )
    except LibraryMissingError as error:
        remarks.append(str(error))
    return {
        "version": VERSION,
        "alpha": ALPHA,
        "least": LEAST,
        "fewest": FEWEST,
        "marked": not any(history for group in groups for history in group.histories if id(history) not in found),
        "remarks": remarks,
        "groups": [
            {
                "machine": group.machine,
                "runs": [_run(run) for run in group.runs],
                "histories": [
                    _history(group, history, found.get(id(history), Changes([], []))) for history in group.histories
                ],
            }
            for group in groups
        ],
    }


def title(test: str) -> str:
    """Return a test's id in short: `augmentation test_speedup[exact]`."""
    path, _, name = test.partition("::")
    case = PurePosixPath(path).stem.removeprefix("test_")
    return f"{case} {name}" if name else case


def _run(run: Run) -> dict[str, Any]:
    saved = run.origin.saved
    return {
        "name": run.name,
        "commit": run.origin.commit,
        "dirty": run.origin.dirty,
        "date": saved and saved.isoformat(timespec="minutes"),
    }


def _history(group: Group, history: History, found: Changes) -> dict[str, Any]:
    return {
        "test": history.test,
        "name": title(history.test),
        "kind": history.kind,
        "points": [
            {"run": point.run, "ratio": point.ratio, "interval": point.interval and list(point.interval)}
            for point in history.points
        ],
        "changes": [_change(group, history, change) for change in found.changes],
        "outliers": found.outliers,
    }


def _change(group: Group, history: History, change: Change) -> dict[str, Any]:
    place, previous = (history.points[index].run for index in (change.index, change.previous))
    here, before = group.runs[place], group.runs[previous]
    return {
        "point": change.index,
        "run": place,
        "previous": previous,
        "before": change.before,
        "after": change.after,
        "percent": change.percent,
        "p": change.p,
        "worse": (change.after < change.before) == (history.kind == "time"),
        # Between two runs of one commit, without changes beside it, no code differs: what changed is around it.
        "same_commit": bool(here.origin.commit)
        and here.origin.commit == before.origin.commit
        and not (here.origin.dirty or before.origin.dirty),
        "packages": _differences(before.machine or {}, here.machine or {}),
    }


def _differences(before: dict[str, Any], here: dict[str, Any]) -> list[str]:
    return [
        f"{key.replace('_full', '')} {machine.in_short(before.get(key))} -> {machine.in_short(here.get(key))}"
        for key in DECIDE_SPEED
        if before.get(key) != here.get(key)
    ]
