"""Ask again in fresh processes before anybody is told that something is slower.

A process has one memory layout for as long as it lives, and that alone can make one of two equal sides some per cent
slower. So each of two new processes repeats the duel, one with the working tree's modules loaded first and one with the
other revision's.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ..judge.rules import Compared
from ..plugin.session import GATE

ORDERS = ("reference", "candidate")


class ConfirmationError(Exception):
    """A fresh process came to no verdict; the message has what it printed."""


def confirmed(row: Compared, package: str, config: pytest.Config) -> Compared:
    """Return `row` with a note on its confirmation, and as inconclusive where a fresh process does not agree.

    Raises:
        ConfirmationError: where a fresh process fails to judge.
    """
    for order in ORDERS:
        again = _repeat(row, package, config, order)
        if again["verdict"] != "slower":
            return replace(
                row,
                verdict="inconclusive",
                note=f"slower in this process and {again['verdict']} in a fresh one ({order} loaded first): memory "
                "layout, or chance",
            )
    return replace(row, note="confirmed in two fresh processes")


def _repeat(row: Compared, package: str, config: pytest.Config, order: str) -> dict[str, Any]:
    """Run one test in a process of its own, with that side loaded first, and return what it reports."""
    gate = config.stash[GATE]
    assert gate.revision is not None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gate.json"
        settings = {
            "--against": gate.revision.commit,
            "--confirm": f"{order}:{package}",
            "--tolerance": gate.tolerance * 100,
            "--alpha": gate.alpha / gate.duels,
            "--budget": gate.budget,
            "--gate-json": file,
            "--rootdir": config.rootpath,
        }
        options = [f"{name}={value}" for name, value in settings.items()]
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *options, row.test]
        done = subprocess.run(  # noqa: S603 - this interpreter, and arguments that no shell sees
            command, cwd=config.rootpath, env=os.environ, capture_output=True, text=True, check=False
        )
        try:
            (found,) = json.loads(file.read_text(encoding="utf-8"))["revision"]["benchmarks"]
        except (OSError, ValueError, KeyError, TypeError):
            said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-30:])
            raise ConfirmationError(f"{row.name} could not be confirmed in a fresh process:\n{said}") from None
    return dict(found)
