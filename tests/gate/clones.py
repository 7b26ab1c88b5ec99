"""A clone of this repository, in which files are changed and pytest is run."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Clone:
    """A clone, in which files are changed and pytest is run."""

    def __init__(self, folder):
        self.folder = folder

    def git(self, *arguments):
        subprocess.run(["git", "-C", self.folder, *arguments], check=True, capture_output=True)

    def commit(self):
        self.git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qam", "a change")

    def change(self, path, old, new):
        text = (self.folder / path).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in {path}"
        (self.folder / path).write_text(text.replace(old, new), encoding="utf-8")

    def append(self, path, text):
        with (self.folder / path).open("a", encoding="utf-8") as file:
            file.write(text)

    def pytest(self, *options):
        """Return pytest's status, what it printed, and the verdicts."""
        status, output, rows = self.gate(*options)
        return status, output, {row["name"]: row["verdict"] for row in rows}

    def gate(self, *options):
        """Return pytest's status, what it printed, and the rows of --gate-json about another revision, memory last."""
        file = self.folder / "gate.json"
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--gate-json", file, *options]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=900, check=False)
        rows = []
        with contextlib.suppress(FileNotFoundError):
            document = json.loads(file.read_text(encoding="utf-8"))
            rows = document["revision"]["benchmarks"] if document["revision"] else []
            rows += [{**row, "verdict": row["revision_verdict"], "clock": "memory"} for row in document["memory"]]
            file.unlink()
        return done.returncode, done.stdout + done.stderr, rows
