"""Starts: a script in a fresh process for each call: its imports, its preparation and its first call are timed."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .clocks import children_seconds
from .timing import Batch

TIMEOUT = 600  # seconds for one start
LAST_LINES = 15  # of what a failed script printed


class StartError(Exception):
    """The script failed; the message has the end of its output."""


@dataclass(frozen=True)
class Start:
    """A side of a duel: `python -c script` in a folder.

    Attributes:
        script: the text of a program; what it prints is its result.
        folder: where it runs, and where its imports are looked for first.
        path: more folders for its imports, before the installed packages.
        python: the interpreter.
        variables: of its process; the folders come before those of PYTHONPATH.
    """

    script: str
    folder: Path
    path: Sequence[Path] = ()
    python: Path = Path(sys.executable)
    variables: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def call(self) -> str:
        """Run the script once, and return what it printed.

        Raises:
            StartError: Its status is not 0, or it took longer than TIMEOUT.
        """
        before = [str(folder) for folder in (self.folder, *self.path)]
        found = os.pathsep.join(filter(None, (*before, self.variables.get("PYTHONPATH"))))
        try:
            done = subprocess.run(  # noqa: S603 - an interpreter, and no shell
                [self.python, "-c", self.script],
                cwd=self.folder,
                env={**self.variables, "PYTHONPATH": found},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise StartError(f"the script did not end within {TIMEOUT} s") from None
        if done.returncode:
            output = "\n".join((done.stdout + done.stderr).strip().splitlines()[-LAST_LINES:])
            raise StartError(f"the script ended with status {done.returncode}:\n{output}")
        return done.stdout

    def batch(self, iterations: int) -> Batch:
        """Run the script that many times; CPU time is that of the processes."""
        result, cpu, start = "", children_seconds(), time.perf_counter()
        for _ in range(iterations):
            result = self.call()
        wall = time.perf_counter() - start
        return Batch(wall, children_seconds() - cpu, result)
