"""The search for the commit that made a benchmark slower: with stand-ins, and in a small repository of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.gate.compare.bisect.probe import Probe, Prober, _judged
from benchmarks.gate.compare.bisect.search import first_bad, most_probes

from .toy_suite import INI, SUITE

PROGRAM = "benchmarks.gate.compare.bisect"


@given(st.data())
def test_the_search_brackets_the_first_bad_commit(data):
    count = data.draw(st.integers(1, 200))
    first = data.draw(st.integers(0, count - 1))
    share = data.draw(st.sampled_from([0, 0.1, 0.5, 0.9, 1]))
    random = data.draw(st.randoms(use_true_random=False))
    broken = {place for place in range(count) if random.random() < share}
    skips = data.draw(st.integers(0, 20))
    probed = []

    def judge(place):
        probed.append(place)
        return "skip" if place in broken else "bad" if place >= first else "good"

    bracket = first_bad(count, judge, skips)
    assert first in bracket.suspects
    assert len(probed) == len(set(probed)) <= most_probes(count, skips)
    assert count - 1 not in probed
    assert len(broken & set(probed)) <= skips + 1
    if len(broken & set(probed)) <= skips:
        assert set(bracket.suspects[:-1]) <= broken


def test_the_search_ends_after_as_many_skips_as_are_allowed():
    probed = []
    bracket = first_bad(100, lambda place: probed.append(place) or "skip", 3)
    assert len(probed) == 4
    assert bracket.suspects == range(100)


def test_without_candidates_there_is_no_first_bad_commit():
    with pytest.raises(ValueError, match="no candidate"):
        first_bad(0, lambda _: "good", 0)


CASE = """
import time

def steady():
    time.sleep({seconds})
    return {result}

VARIANTS = {{"steady": steady}}
# {serial}
"""
FAST, SLOW = 0.003, 0.0045


def case(serial, seconds=FAST, result=7):
    return CASE.format(serial=serial, seconds=seconds, result=result)


# The self-checks of each run are shortened: the least pairs, and 50 % for 5.
CONFTEST = """
from benchmarks.gate.measure.duel import run_duel
from benchmarks.gate.measure.workloads import slowed

def run(name, reference, candidate, questions, **settings):
    if name == "control":
        settings["budget"] = 0
    if name == "canary":
        candidate = slowed(reference, 0.5)
    return run_duel(name, reference, candidate, questions, **settings)

def pytest_gate_runner():
    return run
"""


@pytest.fixture
def repository(tmp_path, monkeypatch, request):
    """An empty repository of a toy suite; returns what commits a text of the package, and the commit's hash."""
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.chdir(tmp_path)
    suite = SUITE.replace("@pytest", '@pytest.mark.gate(clock="wall")\n@pytest', 1)
    files = {
        "pytest.ini": INI,
        "conftest.py": CONFTEST,
        "suite/test_toy.py": suite,
        "toylib/__init__.py": "",
        ".gitignore": "__pycache__\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "toylib/case").mkdir()
    git("init", "-q")

    def commit(text, name="toylib/case/__init__.py"):
        (tmp_path / name).write_text(text)
        git("add", "-A")
        git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", f"changes {name}")
        return git("rev-parse", "HEAD")

    return commit


def git(*arguments):
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def bisect(*arguments, status=0):
    command = [sys.executable, "-m", PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert len(git("worktree", "list").splitlines()) == 1
    return done.stdout + done.stderr


def test_it_finds_the_commit_goes_around_a_broken_one_and_leaves_all_as_it_was(repository, tmp_path):
    good = repository(case(0))
    repository(case(1))
    broken = repository("def steady(:\n")
    repository(case(3))
    named = repository(case(4, SLOW))
    repository("notes", "notes.txt")
    repository(case(6, SLOW))
    repository(case(7, SLOW))
    bad = repository(case(8, SLOW))
    (tmp_path / "toylib/case/__init__.py").write_text("uncommitted")
    (tmp_path / "notes.txt").write_text("staged")
    git("add", "notes.txt")
    before = git("status", "--porcelain=v2")
    output = bisect(good, bad, "--test", "suite/test_toy.py::test_revision[steady]")
    assert git("status", "--porcelain=v2") == before
    assert "7 of the commits change toylib" in output
    assert f"\n{broken[:7]} changes toylib/case/__init__.py: cannot be judged (SyntaxError" in output
    assert f"the first slower commit:\n  {named}" in output
    assert "wrong with probability 0.001 at most" in output


def test_it_lists_the_commits_that_remain(repository):
    good = repository(case(0))
    broken = repository(case(1, result=8))
    named = repository(case(2, SLOW))
    output = bisect(good, named, "--test", "steady", status=3)
    suspects = output.partition("is one of these:")[2]
    assert f"  {broken}" in suspects
    assert "returns something else" in suspects
    assert f"  {named}" in suspects


def test_nothing_is_slower(repository):
    good = repository(case(0))
    bad = repository(case(1))
    assert "BAD is not slower than GOOD" in bisect(good, bad, status=1)
    assert "the same commit" in bisect(bad, bad, status=2)
    assert "no ancestor" in bisect(bad, good, status=2)
    assert "git knows no revision 'nonsense' (GOOD)" in bisect("nonsense", bad, status=2)


def test_silence_is_not_good(repository):
    good = repository(case(0))
    bad = repository(case(1, result=8))
    assert "returns something else" in bisect(good, bad, status=3)
    assert "BAD is not proven slower" in bisect(good, bad, "--test", "nonsense", status=3)
    assert "BAD has no package 'toy'" in bisect(good, bad, "--package=toy", status=2)


def running(process):
    """Return the name of a process, or None if it has ended."""
    try:
        return None if process.status() == psutil.STATUS_ZOMBIE else process.name()
    except psutil.NoSuchProcess:
        return None


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_end_from_outside_leaves_nothing_behind(repository, tmp_path_factory, monkeypatch, sent):
    repository(case(0))
    repository(case(1) + "\nimport subprocess\nsubprocess.Popen(['sleep', '60'])\n")
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(temporary))
    # Where the tests run in the background of a shell, SIGINT is ignored from the start.
    start = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); runpy.run_module"
    command = [sys.executable, "-c", f"{start}({PROGRAM!r}, run_name='__main__')", "HEAD^", "HEAD"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        children = []
        while "sleep" not in map(running, children):
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.05)
            children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(sent)
        output, _ = process.communicate(timeout=20)
    assert process.returncode == 128 + sent, output
    assert "Traceback" not in output
    assert not any(map(running, children))
    assert not list(temporary.iterdir())
    assert len(git("worktree", "list").splitlines()) == 1


def test_a_package_that_is_not_the_checkouts_is_refused(repository, tmp_path):
    good = repository(case(0))
    repository(f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n{CONFTEST}", "conftest.py")
    bad = repository(case(1))
    output = bisect(good, bad, status=2)
    assert f"the tests import toylib from {tmp_path / 'toylib'} and not from the checkout of each commit" in output


def test_a_package_that_is_duelled_and_not_named_is_refused(repository):
    good = repository(case(0))
    repository(case(1))
    assert "no commit from GOOD to BAD changes suite" in bisect(good, "HEAD", "--package=suite", status=1)
    repository(f"{CONFTEST}\n", "conftest.py")
    assert "add --package toylib" in bisect(good, "HEAD", "--package=suite", "--package=conftest.py", status=2)


ROOT = Path(__file__).parents[2]


def test_make_bisect():
    command = ["make", "-n", "-o", ".venv/.ready", "bisect", "GOOD=v1", "BAD=v2", "TEST=a and b"]
    # Below `make test` the variables of that make, such as ARGS, would be in this command as well.
    env = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].endswith(f' -m {PROGRAM} "v1" "v2" --collect benchmarks --test \'a and b\' ')
    ends = subprocess.run(
        ["make", "-o", ".venv/.ready", "bisect"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "name both ends" in ends.stderr
    assert ends.returncode == 2


@pytest.mark.parametrize(
    "option", ["--alpha=0", "--alpha=nan", "--budget=-1", "--skips=-1", "--package=../a", "--package="]
)
def test_options_that_make_no_sense(repository, option):
    assert option.partition("=")[0] in bisect("HEAD", "HEAD", option, status=2)


# What a run proves; silence proves nothing.

A, B = "suite/test_toy.py::a", "suite/test_toy.py::b"
SELFCHECK = "gate/plugin/selfcheck.py::"


def row(verdict, **more):
    numbers = {"ratio": 0.9, "interval": [0.8, None], "seconds": 1.0}
    return {"verdict": verdict, "note": "", "clock": "wall", "duel": {**numbers, "cpu": numbers}, **more}


@pytest.mark.parametrize(
    ("rows", "failures", "status", "outcome", "reasons"),
    [
        ({A: row("same")}, {}, 0, "good", {}),
        ({A: row("faster"), B: row("same")}, {}, 0, "good", {}),
        ({A: row("slower"), B: row("same")}, {A: "slower"}, 1, "bad", {}),
        ({A: row("same")}, {f"{SELFCHECK}test_nothing_is_missing": "renamed"}, 1, "good", {}),
        ({A: row("inconclusive")}, {}, 0, "skip", {}),
        ({A: row("inconclusive")}, {A: "blind"}, 1, "skip", {}),
        ({}, {}, 0, "skip", {}),
        ({}, {A: "OSError: disk"}, 1, "skip", {A: "OSError: disk"}),
        ({B: row("same")}, {A: "OSError: disk"}, 1, "skip", {A: "OSError: disk"}),
        ({A: row("same")}, {A: "at teardown"}, 1, "skip", {A: "at teardown"}),
        ({A: row("slower")}, {}, 0, "skip", {A: "slower, and pytest says otherwise"}),
        ({A: row("slower")}, {A: "slower"}, 0, "skip", {A: "slower"}),
        ({A: row("new", duel=None)}, {}, 0, "skip", {A: "new"}),
        ({A: row("unsupported", duel=None, note="no GPU")}, {}, 0, "skip", {A: "no GPU"}),
        ({A: row("of a later gate")}, {}, 0, "skip", {A: "of a later gate"}),
        ({A: row("same")}, {f"{SELFCHECK}test_control": "odd"}, 1, "skip", {f"{SELFCHECK}test_control": "odd"}),
        (
            {A: row("slower")},
            {A: "slower", f"{SELFCHECK}test_canary": "odd"},
            1,
            "skip",
            {f"{SELFCHECK}test_canary": "odd"},
        ),
    ],
)
def test_what_counts(rows, failures, status, outcome, reasons):
    counted, why = _judged(rows, {"failures": failures, "skips": {}}, status, [])
    assert Probe("c", counted, why).outcome == outcome
    assert why == reasons


def test_a_test_that_is_asked_for_needs_a_verdict():
    counted, why = _judged({A: row("same")}, {"failures": {}, "skips": {}}, 0, [A, B])
    assert Probe("c", counted, why).outcome == "skip"
    assert why == {B: "no verdict was reported"}
    _, why = _judged({A: row("same")}, {"failures": {}, "skips": {B: "no such processor"}}, 0, [A, B])
    assert why == {B: "no such processor"}


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        ({A: "inconclusive", B: "same"}, {A: "same"}, "good"),
        ({A: "inconclusive", B: "same"}, {A: "slower"}, "bad"),
        ({A: "inconclusive", B: "same"}, {A: "inconclusive"}, "skip"),
        ({A: "inconclusive", B: "slower"}, None, "bad"),
        ({A: "same", B: "same"}, None, "good"),
    ],
)
def test_an_inconclusive_duel_gets_one_more_try_with_four_times_the_budget(monkeypatch, first, second, outcome):
    tries = []

    def one(self, commit, select, tests, budget):
        tries.append((list(select), list(tests), budget))
        verdicts = first if len(tries) == 1 else second
        return {test: row(verdict) for test, verdict in verdicts.items()}, {}, ("toylib",)

    monkeypatch.setattr(Prober, "_try", one)
    probe = Prober(None, (), 0.001, 30).probe("c", ["suite"])
    assert probe.outcome == outcome
    assert tries == [(["suite"], [], 30)] + ([([A], [A], 120)] if second else [])


def test_numbers_of_a_probe_are_shown():
    probe = Probe("c", {A: row("slower"), B: row("same", clock="cpu")})
    assert str(probe) == "slower (a slower: 0.900 times faster, 0.800 to unknown, wall time)"
