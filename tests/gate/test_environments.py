"""Dependencies differ: each side runs in an environment that is made of its own tree's lock."""

import json
import os
import subprocess
from pathlib import Path

import jsonschema
import pytest

from benchmarks.gate.report import json_report

from .toy_suite import INI, SELFCHECKS, SUITE, commit, git, refused
from .wheels import write_shared, write_wheel

LOCK = "shared==1\nslowlib=={version}\n"
CASE = """
import time

import slowlib


def steady():
    time.sleep(0.001)
    return 7


def other():
    time.sleep(slowlib.SECONDS)
    return 7


VARIANTS = {{"steady": steady, "other": other}}
"""

# By the wall clock alone: work that sleeps uses so little CPU time that a process's layout shows in it.
BENCHMARKS = SUITE.replace("@pytest", '@pytest.mark.gate(clock="wall")\n@pytest', 1)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder of the environments."""
    monkeypatch.setenv("PERFORMANCE_GATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "environments"


@pytest.fixture
def bumped(pytester, repository, tmp_path, cache, monkeypatch):
    """A repository whose lock is changed and not committed: version 1 of a library, and now 2."""
    wheels = tmp_path / "wheels"
    write_shared(wheels)
    for version, seconds in (("1", 0.001), ("2", 0.0015), ("3", 0.001)):
        write_wheel(wheels, "slowlib", version, {"slowlib.py": f"SECONDS = {seconds}\n"})
    # The library of this process, which duels nothing: the benchmarks import it.
    (tmp_path / "here").mkdir()
    (tmp_path / "here/slowlib.py").write_text("SECONDS = None\n")
    monkeypatch.setenv("PYTHONPATH", f"{os.environ['PYTHONPATH']}{os.pathsep}{tmp_path / 'here'}")
    monkeypatch.syspath_prepend(tmp_path / "here")
    install = f"--no-index --offline --find-links {wheels} -r requirements.lock"
    pytester.makeini(f"{INI}gate_install = {install}\n")
    lock = pytester.path / "requirements.lock"
    lock.write_text(LOCK.format(version=1))
    repository(text=CASE, benchmarks=BENCHMARKS)
    git(pytester, "add", "-A")
    commit(pytester, "locked")
    lock.write_text(LOCK.format(version=3))
    return lock


def against(pytester, *options):
    result = pytester.runpytest_inprocess("--against=HEAD", "--duel-seed=1", "--gate-json=gate.json", *options)
    return result, json.loads((pytester.path / "gate.json").read_text())["revision"]


def verdicts(revision):
    return {row["name"].partition("[")[2].rstrip("]"): row["verdict"] for row in revision["benchmarks"]}


def test_another_version_that_is_as_fast(pytester, bumped, cache):
    result, revision = against(pytester, "--gate-report=gate.md")
    result.assert_outcomes(passed=2 + SELFCHECKS, deselected=1)
    line = "each side ran in an environment of its own (requirements.lock): slowlib 1 -> 3"
    result.stdout.fnmatch_lines([f"gate: {line}", line])
    assert f"- {line}\n" in (pytester.path / "gate.md").read_text()
    assert verdicts(revision) == {"steady": "same", "other": "same"}
