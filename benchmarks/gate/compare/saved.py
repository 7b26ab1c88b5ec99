"""The duels and memory peaks of earlier runs, read from the files that pytest-benchmark saves."""

import datetime as dt
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..measure import machine
from ..measure.duel import Duel

KEY = "gate"  # in pytest-benchmark's file, for what it does not save itself


class SavedRunError(Exception):
    """A requested saved run cannot be used; the message names it and says why."""


class Peaks(NamedTuple):
    """Peak memory of the two sides of a comparison, in bytes."""

    reference: int
    candidate: int


@dataclass(frozen=True)
class Origin:
    """Where a saved run comes from, as far as its file says.

    Attributes:
        commit: its full hash; "" if unknown.
        dirty: whether the working tree had changes beside it.
        committed: when the commit was made.
        saved: when the run was.
        cpu: vendor, family and model. A hypervisor may give two processors one name ("AMD EPYC"), and these differ.
    """

    commit: str = ""
    dirty: bool = False
    committed: dt.datetime | None = None
    saved: dt.datetime | None = None
    cpu: tuple[str, ...] = ()

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Origin":
        """Read what pytest-benchmark writes about a run."""
        commit = content.get("commit_info") or {}
        cpu = content["machine_info"].get("cpu") or {}
        parts = [cpu.get(key) for key in ("vendor_id_raw", "family", "model")]
        return cls(
            commit=str(commit.get("id") or ""),
            dirty=bool(commit.get("dirty")),
            committed=_moment(commit.get("time")),
            saved=_moment(content.get("datetime")),
            cpu=() if None in parts else tuple(map(str, parts)),
        )


@dataclass(frozen=True)
class Run:
    """One saved run.

    Attributes:
        path: its file.
        machine: its description; None if the file has none.
        tests: the ids of all tests that measured.
        duels: by test.
        memory: by test.
        full: the ids of those that belong to the full run only; None if the run is older than that distinction.
        seconds: that each test took, by id.
        origin: commit, dates and processor.
    """

    path: Path
    machine: dict[str, Any] | None
    tests: frozenset[str]
    duels: dict[str, Duel]
    memory: dict[str, Peaks]
    full: frozenset[str] | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    origin: Origin = Origin()

    @property
    def name(self) -> str:
        """Return the file's name without its suffix."""
        return self.path.stem

    @property
    def quick(self) -> frozenset[str]:
        """Return the ids of the tests that a quick run has too; none if that is not known."""
        return frozenset() if self.full is None else self.tests - self.full


def read(path: Path) -> Run:
    """Read a file saved with --benchmark-save, --benchmark-autosave or --benchmark-json.

    Raises:
        SavedRunError: The file cannot be read, is truncated, or is something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        saved = {bench["fullname"]: bench["extra_info"] for bench in content["benchmarks"]}
        duels = {name: Duel.from_dict(extra["duel"]) for name, extra in saved.items() if "duel" in extra}
        extra = content.get(KEY, {})
        memory = {name: Peaks(*map(int, peaks)) for name, peaks in extra.get("memory", {}).items()}
        tests = frozenset(saved) | set(memory) | set(extra.get("measures", []))
        full = frozenset(extra["full"]) if "full" in extra else None
        seconds = {name: float(took) for name, took in extra.get("seconds", {}).items()}
        return Run(path, content["machine_info"].get("gate"), tests, duels, memory, full, seconds, Origin.of(content))
    except OSError as error:
        raise SavedRunError(f"the saved run {path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise SavedRunError(
            f"the saved run {path} is damaged or no pytest-benchmark file ({type(error).__name__}: {error}). "
            "Restore it from version control, or save a new one (make baseline)."
        ) from error


def newest(paths: list[Path], here: dict[str, Any]) -> Run:
    """Return the last of the runs made on a machine like `here`, or the last of all if there is none.

    Raises:
        SavedRunError: A run that is read, from the last on, is damaged. Skipping it could choose another silently.
    """
    last = None
    for path in reversed(paths):
        run = read(path)
        if not machine.differences(here, run.machine):
            return run
        last = last or run
    if last is None:
        raise SavedRunError("there is no saved run")
    return last


def _moment(text: object) -> dt.datetime | None:
    """Return a moment that can be compared with others, or None if there is none; without a zone it is UTC's."""
    if not isinstance(text, str):
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
