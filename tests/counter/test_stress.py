"""Layers three and four: fifteen threads, as many switches as the interpreter can be made to do, again and again.

`optimised` counts to 100,000 fifty times over. The others open or write per entry and are a hundred times slower, so
theirs are twenty runs, `sequential` to 50,000 and `locked` to 10,000: what fits in some five seconds each.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from impl.counter import VARIANTS, check_log

ROOT = Path(__file__).parents[2]
RUNS = [("locked", 10_000, 20), ("sequential", 50_000, 20), ("optimised", 100_000, 50)]


@pytest.fixture
def restless():
    """Threads take turns after a microsecond, not after five milliseconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def stress(name, limit, times, path):
    """Run a variant again and again, and look at each log; return how many threads wrote, for each run."""
    took_part = []
    for _ in range(times):
        path.unlink(missing_ok=True)  # a new file: emptying an old one takes longer than writing it
        result = VARIANTS[name](path, threads=15, limit=limit)
        report = check_log(path, limit)
        assert report.complete, report
        if name != "locked":
            assert report.ok, report
            assert report.backwards == 0, report
        assert result.count == report.entries == sum(result.per_thread) == limit
        took_part.append(sum(wrote > 0 for wrote in result.per_thread))
    return took_part


@pytest.mark.parametrize(("name", "limit", "times"), RUNS)
def test_stress(name, limit, times, tmp_path, restless):
    took_part = stress(name, limit, times, tmp_path / "log")
    assert min(took_part) >= 2, f"threads that wrote, by run: {took_part}"


def test_several_threads_take_part(tmp_path):
    """At the interpreter's own switch interval, which is the one that counts."""
    took_part = stress("optimised", 100_000, 10, tmp_path / "log")
    assert min(took_part) >= 2, f"threads that wrote, by run: {took_part}"


@pytest.mark.parametrize("python", ["python3.13t", "python3.14t"])
def test_stress_without_a_global_lock(python, tmp_path):
    if shutil.which(python) is None:
        pytest.skip(f"{python}, a free-threaded CPython, is not on PATH")
    run = [python, "-c", f"from tests.counter.test_stress import without_gil; without_gil({str(tmp_path / 'log')!r})"]
    if subprocess.run([python, "-c", "import numpy, pytest"], check=False, capture_output=True).returncode:
        pytest.skip(f"{python} has no numpy and pytest to import")
    done = subprocess.run(
        run, cwd=ROOT, env=os.environ | {"PYTHON_GIL": "0"}, check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def without_gil(path):
    """What runs there."""
    assert not sys._is_gil_enabled()
    for name, limit, times in RUNS:
        stress(name, limit, times, Path(path))
