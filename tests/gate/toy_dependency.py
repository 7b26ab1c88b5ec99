"""The toy repository with a lock: what it imports is a library in three versions, made here and installed by uv."""

import json
import os

import pytest

from .toy_suite import INI, SUITE, commit, git
from .wheels import write_shared, write_wheel

LOCK = "shared==1\nslowlib=={version}\n"
FAST, SLOW, AS_FAST = "1", "2", "3"  # versions
CASE = """
import time

import slowlib

def steady():
    time.sleep(0.001)
    return 7

def other():
    time.sleep(slowlib.SECONDS)
    {other}
    return 7

VARIANTS = {{"steady": steady, "other": other}}
"""
# By the wall clock alone: work that sleeps uses so little CPU time that a process's layout shows in it.
BENCHMARKS = SUITE.replace("@pytest", '@pytest.mark.gate(clock="wall")\n@pytest', 1)
CHANGED = "each side ran in an environment of its own (requirements.lock): slowlib 1 -> 3"


LIBRARY = """
import time

SECONDS = {}
VERSION = {}

def wait():
    time.sleep(SECONDS)
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """A folder with the versions of the library."""
    folder = tmp_path_factory.mktemp("wheels")
    write_shared(folder)
    for version, seconds in ((FAST, 0.001), (SLOW, 0.0015), (AS_FAST, 0.001)):
        write_wheel(folder, "slowlib", version, {"slowlib.py": LIBRARY.format(seconds, version)})
    return folder


@pytest.fixture
def cache(tmp_path):
    """A cache of this test's own; all others share one."""
    return tmp_path / "cache"


@pytest.fixture
def bump(pytester, repository, wheels, tmp_path, monkeypatch, request):
    """A repository that has locked the first version of a library; returns what locks another and writes the rest."""
    own = request.getfixturevalue("cache") if "cache" in request.fixturenames else wheels.parent / "environments"
    monkeypatch.setenv("PERFORMANCE_GATE_CACHE", str(own))
    here = tmp_path / "here"
    # This process measures nothing, and imports the benchmarks: it has a version of its own.
    here.mkdir()
    (here / "slowlib.py").write_text(LIBRARY.format(0.001, 0))
    monkeypatch.setenv("PYTHONPATH", f"{os.environ['PYTHONPATH']}{os.pathsep}{here}")
    monkeypatch.syspath_prepend(here)
    pytester.makeini(f"{INI}gate_install = --no-index --offline --find-links {wheels} -r requirements.lock\n")
    lock = pytester.path / "requirements.lock"

    def write(version, text=CASE, benchmarks=BENCHMARKS, other="pass"):
        lock.write_text(LOCK.format(version=version))
        repository(text=text, benchmarks=benchmarks, other=other)

    write(FAST)
    with (pytester.path / ".gitignore").open("a") as ignored:
        ignored.write("gate.json\n")  # or the working tree is another one after each run
    git(pytester, "add", "-A")
    commit(pytester, "locked")
    return write


def against(pytester, *options):
    result = pytester.runpytest_inprocess("--against=HEAD", "--duel-seed=1", "--gate-json=gate.json", *options)
    return result, json.loads((pytester.path / "gate.json").read_text())["revision"]


def verdicts(revision):
    return {row["name"].partition("[")[2].rstrip("]"): row["verdict"] for row in revision["benchmarks"]}
