"""Run another revision's own benchmarks in its tree, once, and return what their work did."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import psutil

from ..revision import Revision
from . import entries, observe, recorder, shape
from .observe import Observation

LIMIT = 600.0  # seconds of one process
PACKAGE = "gate_recorder"
COPIED = (shape, observe, entries, recorder)

Recorded: TypeAlias = Observation | str  # or why there is none


def record(
    revision: Revision,
    tests: Collection[str],
    limit: float = LIMIT,
    *,
    python: str = sys.executable,
    options: Sequence[str] = (),
    path: Sequence[str] = (),
) -> dict[str, Recorded]:
    """Run the tests of `against` that the revision has, and return what their work did, or why that is unknown.

    Tests that the revision does not have are left out.

    Args:
        revision: the other one.
        tests: ids.
        limit: seconds after which the process is ended; what it has recorded counts.
        python: the interpreter.
        options: more of pytest's.
        path: folders to import from, before all others.

    Raises:
        RevisionError: git cannot unpack the revision.
    """
    tree = revision.tree
    files = sorted({file for file in (test.partition("::")[0] for test in tests) if (tree / file).is_file()})
    if not files:
        return {}
    _copy(revision.folder / PACKAGE)
    with tempfile.TemporaryDirectory(dir=revision.folder) as folder:
        request, output, printed = (Path(folder) / name for name in ("request.json", "output.jsonl", "printed.txt"))
        request.write_text(json.dumps({"tests": sorted(tests), "output": str(output)}), encoding="utf-8")
        ended = _run(
            _command(python, tree, [*options, *files]),
            tree,
            # What this environment inherits would hide another one.
            revision.environment(path, inherits=python == sys.executable, variables={recorder.VARIABLE: str(request)}),
            printed,
            limit,
        )
        lines = output.read_text(encoding="utf-8").splitlines() if output.exists() else []
        text = printed.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return dict(_recorded(tests, [json.loads(line) for line in lines], ended, text))


def _copy(package: Path) -> None:
    if not package.exists():
        package.mkdir()
        (package / "__init__.py").touch()
        for module in COPIED:
            shutil.copy(Path(str(module.__file__)), package)


def _command(python: str, tree: Path, words: list[str]) -> list[str]:
    return [
        *(python, "-m", "pytest", "-q", f"--rootdir={tree}"),
        *("-p", "no:cacheprovider", "-p", f"{PACKAGE}.{Path(str(recorder.__file__)).stem}"),
        # One test or module that fails does not end the others, and a warning is no reason to know nothing.
        *("--continue-on-collection-errors", "--maxfail=0", "-W", "ignore"),
        *words,
    ]


def _run(command: list[str], folder: Path, environment: Mapping[str, str], printed: Path, limit: float) -> str:
    """Run a process with its output in a file; return how it ended, in words.

    Not through a pipe: a server that a benchmark left behind would keep that open.
    """
    with printed.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - an interpreter, and arguments that no shell sees
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            return f"its process ended before, with status {process.wait(timeout=limit)}"
        except subprocess.TimeoutExpired:
            return f"its process was ended after {limit:.0f} s"
        finally:
            if process.poll() is None:  # timed out, or interrupted
                _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and those that it has started."""
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
    process.kill()
    process.wait()


def _recorded(
    tests: Collection[str], lines: list[dict[str, Any]], ended: str, printed: list[str]
) -> Iterator[tuple[str, Recorded]]:
    """Yield each test with its observation, or with the first reason why there is none."""
    collected = {test for line in lines for test in line.get("collected", ())}
    failed = [(line["below"], line["reason"]) for line in lines if "below" in line]
    known: dict[str, Recorded] = {}
    for line in lines:
        if "observation" in line:
            known[line["test"]] = Observation.from_dict(line["observation"])
        elif "test" in line:
            known.setdefault(line["test"], line["reason"])
    for test in sorted(tests):
        reasons = [reason for below, reason in failed if test.startswith(below)]
        if test in known:
            yield test, known[test]
        elif reasons:
            yield test, reasons[0]
        elif test in collected:
            yield test, ended
        elif not any("collected" in line for line in lines):  # pytest refused, or its process died
            yield test, f"{ended}{os.linesep.join(['', *printed[-5:]])}"
