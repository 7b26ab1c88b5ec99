"""Repeat a duel in fresh processes before a slowdown is reported.

A process keeps one memory layout for life, and the layout alone can make one of two equal sides some per cent slower.
So each of two new processes repeats the duel, one with the working tree's modules loaded first and one with the other
revision's.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ORDERS = ("reference", "candidate")


class ConfirmationError(Exception):
    """A fresh process came to no verdict; the message has its output."""


@dataclass(frozen=True)
class Confirmation:
    """The verdicts of the fresh processes.

    Attributes:
        verdicts: by the side that was loaded first ("reference" or "candidate"), up to the first that differs.
    """

    verdicts: Mapping[str, str]

    @property
    def agrees(self) -> bool:
        """Return whether every fresh process said "slower"."""
        return set(self.verdicts.values()) == {"slower"}


def confirm(root: Path, test: str, package: str, options: Mapping[str, object]) -> Confirmation:
    """Repeat one test's duel in two fresh processes.

    Args:
        root: pytest's root.
        test: the test's id.
        package: the package that is loaded in both orders.
        options: pytest's, by name, with the revision and with the alpha of the one duel.

    Raises:
        ConfirmationError: A fresh process reported no verdict.
    """
    verdicts: dict[str, str] = {}
    for order in ORDERS:
        verdicts[order] = _repeat(root, test, {**options, "--confirm": f"{order}:{package}"})
        if verdicts[order] != "slower":
            break
    return Confirmation(verdicts)


def _repeat(root: Path, test: str, options: Mapping[str, object]) -> str:
    """Run one test in a fresh process, and return its verdict."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gate.json"
        words = [f"{name}={value}" for name, value in {**options, "--gate-json": file, "--rootdir": root}.items()]
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *words, test]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603 - this interpreter, and no shell
        try:
            (row,) = json.loads(file.read_text(encoding="utf-8"))["revision"]["benchmarks"]
            return str(row["verdict"])
        except (OSError, ValueError, KeyError, TypeError):
            output = "\n".join((done.stdout + done.stderr).strip().splitlines()[-30:])
            raise ConfirmationError(f"{test} could not be confirmed in a fresh process:\n{output}") from None
