"""Layers three and four: repeated runs of fifteen threads, with as many thread switches as the interpreter allows.

`optimised` counts to 100,000 fifty times. The others open or write the file once per entry and are about a hundred
times slower, so they get twenty runs each, `sequential` to 50,000 and `locked` to 10,000, which take about five seconds
each.
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
def frequent_switches():
    """Set a switch interval of one microsecond instead of five milliseconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def stress(name, limit, times, path):
    """Run a variant repeatedly and check each log; return how many threads wrote in each run."""
    writers_per_run = []
    for _ in range(times):
        path.unlink(missing_ok=True)  # emptying an old file takes longer than writing a new one
        result = VARIANTS[name](path, threads=15, limit=limit)
        report = check_log(path, limit)
        assert report.complete, report
        if name != "locked":
            assert report.ok, report
            assert report.backwards == 0, report
        assert result.count == report.entries == sum(result.per_thread) == limit
        writers_per_run.append(sum(wrote > 0 for wrote in result.per_thread))
    return writers_per_run


@pytest.mark.parametrize(("name", "limit", "times"), RUNS)
def test_stress(name, limit, times, tmp_path, frequent_switches):
    writers_per_run = stress(name, limit, times, tmp_path / "log")
    assert min(writers_per_run) >= 2, f"threads that wrote, per run: {writers_per_run}"


def test_several_threads_take_part(tmp_path):
    """At the interpreter's default switch interval, which is what users have."""
    writers_per_run = stress("optimised", 100_000, 10, tmp_path / "log")
    assert min(writers_per_run) >= 2, f"threads that wrote, per run: {writers_per_run}"


@pytest.mark.parametrize("python", ["python3.13t", "python3.14t"])
def test_stress_without_the_gil(python, tmp_path):
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
    """Run by the free-threaded interpreter."""
    assert not sys._is_gil_enabled()
    for name, limit, times in RUNS:
        stress(name, limit, times, Path(path))


@pytest.mark.skipif(not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="it would do its work")
def test_make_threads_refuses_an_interpreter_with_the_gil():
    command = ["make", "threads", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode
    assert f"make threads: {sys.executable} has the GIL. Name a free-threaded CPython" in done.stderr
