"""The duels and peaks of memory of earlier runs, out of the files pytest-benchmark saves."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..measure import machine
from ..measure.duel import Duel

KEY = "gate"  # pytest-benchmark saves benchmarks only; what else there is to save is under this key


class SavedRunError(Exception):
    """A saved run that is asked for and cannot be used; the message names it and says why."""


class Peaks(NamedTuple):
    """Peak memory of the two sides of a comparison, in bytes."""

    reference: int
    candidate: int


@dataclass(frozen=True)
class Run:
    """One saved run.

    Attributes:
        path: its file.
        machine: that it was made on; None where it does not say.
        tests: the ids of all that was measured.
        duels: by test.
        memory: by test.
    """

    path: Path
    machine: dict[str, Any] | None
    tests: frozenset[str]
    duels: dict[str, Duel]
    memory: dict[str, Peaks]

    @property
    def name(self) -> str:
        """Return what to call it: the file's name without its ending."""
        return self.path.stem


def read(path: Path) -> Run:
    """Read a file saved with --benchmark-save, --benchmark-autosave or --benchmark-json.

    Raises:
        SavedRunError: where it cannot be read, was cut short, or is something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        saved = {bench["fullname"]: bench["extra_info"] for bench in content["benchmarks"]}
        duels = {name: Duel.from_dict(extra["duel"]) for name, extra in saved.items() if "duel" in extra}
        memory = {name: Peaks(*map(int, peaks)) for name, peaks in content.get(KEY, {}).get("memory", {}).items()}
        return Run(path, content["machine_info"].get("gate"), frozenset(saved) | set(memory), duels, memory)
    except OSError as error:
        raise SavedRunError(f"the saved run {path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise SavedRunError(
            f"the saved run {path} is damaged or no pytest-benchmark file ({type(error).__name__}: {error}). "
            "Restore it from version control, or save a new one (make baseline)."
        ) from error


def newest(paths: list[Path], here: dict[str, Any]) -> Run:
    """Return the last of the runs made on a machine like `here`, or, where there is none, the last of all.

    Raises:
        SavedRunError: at the first run, from the last on, that is damaged: skipping it could choose another silently.
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
