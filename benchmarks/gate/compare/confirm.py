"""Repeat a duel in fresh processes before a slowdown is reported.

A process keeps one memory layout for life, and the layout alone can make one of two equal sides some per cent slower.
It can hide a slowdown as well, so no single process decides: of up to five, which load the other revision's modules
first or the working tree's in turns, three have to say "slower". Where each side has an environment, each of the five
starts a pair of processes.
"""

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ORDERS = ("reference", "candidate")  # the side that a process loads first
PROCESSES = 5
MAJORITY = PROCESSES // 2 + 1


class ConfirmationError(Exception):
    """A fresh process came to no verdict; the message has its output."""


@dataclass(frozen=True)
class Confirmation:
    """The verdicts of the fresh processes, in order, up to the one that decided.

    Attributes:
        verdicts: the first process loaded the reference first, the second the candidate, and so on.
    """

    verdicts: tuple[str, ...]

    @property
    def slower(self) -> int:
        """Return how many processes said "slower"."""
        return self.verdicts.count("slower")

    @property
    def agrees(self) -> bool:
        """Return whether the majority said "slower"."""
        return self.slower >= MAJORITY


def confirm(root: Path, test: str, package: str, options: Mapping[str, object]) -> Confirmation:
    """Repeat one test's duel in fresh processes, until the majority is known.

    Args:
        root: pytest's root.
        test: the test's id.
        package: the package that is loaded in both orders.
        options: pytest's, by name, with the revision and with the alpha of the one duel; None for a flag.

    Raises:
        ConfirmationError: A fresh process reported no verdict.
    """
    verdicts: list[str] = []
    for order in itertools.islice(itertools.cycle(ORDERS), PROCESSES):
        verdicts.append(_repeat(root, test, {**options, "--confirm": f"{order}:{package}"}))
        slower = verdicts.count("slower")
        if MAJORITY in (slower, len(verdicts) - slower):
            break
    return Confirmation(tuple(verdicts))


def _repeat(root: Path, test: str, options: Mapping[str, object]) -> str:
    """Run one test in a fresh process, and return its verdict."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gate.json"
        all_options = {**options, "--gate-json": file, "--rootdir": root}
        words = [name if value is None else f"{name}={value}" for name, value in all_options.items()]
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *words, test]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603 - this interpreter, and no shell
        try:
            (row,) = json.loads(file.read_text(encoding="utf-8"))["revision"]["benchmarks"]
            return str(row["verdict"])
        except (OSError, ValueError, KeyError, TypeError):
            output = "\n".join((done.stdout + done.stderr).strip().splitlines()[-30:])
            raise ConfirmationError(f"{test} could not be confirmed in a fresh process:\n{output}") from None
