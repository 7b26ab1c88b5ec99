"""What a person at a terminal sees: the progress in the last line, and the last lines of a run."""

import dataclasses
import datetime as dt
import os
import pty
import re
import subprocess
import sys

import pytest

from benchmarks.gate.judge.acknowledged import Acknowledged, Entry
from benchmarks.gate.judge.rules import JudgedDuel, RevisionRow
from benchmarks.gate.measure.duel import Duel
from benchmarks.gate.plugin.progress import remaining
from benchmarks.gate.report.closing import FAILURES, LINES, Ending, closing
from benchmarks.gate.report.findings import Failure, Findings, Note
from benchmarks.gate.report.tables import terminal

from .duel_suite import run

PASSED = Ending(whole=True, passed=3, options=[], left_out=0, seconds=5)


def judged(name, ratio, test="test_speedup"):
    nothing = vars(Duel.unmeasured(f"{name} {test}"))
    return JudgedDuel(f"benchmarks/test_{name}.py::{test}", Duel(**{**nothing, "ratio": ratio, "interval": (1, 2)}))


def compared(name, verdict):
    return RevisionRow(f"{name} test_revision", f"benchmarks/test_{name}.py::test_revision", "HEAD", verdict)


def test_what_failed_comes_first_with_the_command_that_repeats_it():
    failures = [Failure(f"benchmarks/test_a.py::test_b[{index}]", f"AssertionError: bad {index}") for index in range(7)]
    lines = closing(Findings(failures=failures), Ending(True, 1, ["--against=main"], 2, 61), 200)
    assert lines[0] == ("red: 7 failed, 1 passed in 1 min 1 s", "red")
    assert lines[1:3] == [("benchmarks/test_a.py::test_b[0]", "red"), ("    bad 0", "")]
    assert lines[2 * FAILURES + 1][0] == "and 2 more, above"
    assert lines[2 * FAILURES + 2][0] == "first: python -m pytest 'benchmarks/test_a.py::test_b[0]' --against=main"


def test_a_case_has_the_greatest_ratio_against_its_baseline_as_its_headline():
    duels = [judged("a", 50), judged("a", 70), judged("a", 900, "test_against_peers"), judged("b", 3, "test_one_write")]
    lines = [text for text, _ in closing(Findings(duels=duels), PASSED, 200)]
    assert lines == [
        "green: 3 passed in 5 s",
        "b test_one_write: 3 times faster (1 to 2)",
        "a test_speedup: 70 times faster (1 to 2)",
    ]


def test_a_run_without_a_verdict_is_yellow():
    lines = closing(Findings(compared=[compared("a", "same"), compared("a", "inconclusive")]), PASSED, 200)
    assert lines == [
        ("yellow: 3 passed in 5 s; 1 without a verdict: a test_revision", "yellow"),
        ("a: 1 same, 1 inconclusive", "yellow"),
    ]


def test_a_run_that_was_stopped_is_not_green():
    lines = closing(Findings(), dataclasses.replace(PASSED, whole=False), 200)
    assert lines == [("red: not by a failed test, but by what is shown above; 3 passed in 5 s", "red")]


def test_an_acknowledged_slowdown_is_yellow():
    entry = Entry("test_revision", 0.08, "why", dt.date(2027, 1, 31))
    row = dataclasses.replace(compared("a", "slower"), acknowledged=Acknowledged(entry, "admitted"))
    lines = closing(Findings(compared=[row]), PASSED, 200)
    assert lines[0] == ("yellow: 3 passed in 5 s; 1 acknowledged: a test_revision", "yellow")
    assert lines[1] == ("a: 1 slower, acknowledged", "yellow")


def test_it_is_short_and_narrow_whatever_happened():
    failures = [Failure(f"benchmarks/test_a.py::test_b[{index}]", "bad " * 99) for index in range(99)]
    findings = Findings(duels=[judged(f"case{index}", index) for index in range(99)], failures=failures)
    findings.compared = [compared(f"case{index}", "slower") for index in range(99)]
    lines = closing(findings, Ending(True, 9, [], 9, 9), 80)
    assert len(lines) == LINES
    assert max(len(text) for text, _ in lines) == 80


def test_notes_wider_than_the_terminal_become_lines():
    notes = [Note("test", f"number {index}", index, "s") for index in range(1, 5)]
    findings = Findings(notes=notes, titles={"test": "a test"})
    assert "a test: number 1 1 s; number 2 2 s; number 3 3 s; number 4 4 s" in list(terminal(findings, 80))
    assert list(terminal(findings, 40))[:3] == ["a test:", "    number 1 1 s", "    number 2 2 s"]


def test_the_last_lines_of_a_run_in_a_log_have_no_colour_and_no_progress(pytester, suite):
    suite(floor=30)
    result = run(pytester, "--gate-report=gate.md", failed=1)
    result.stdout.fnmatch_lines(
        [
            "*= summary =*",
            "red: 1 failed, 0 passed in * s",
            "test_toy.py::test_speedup",
            "    toy test_speedup: candidate is * times faster than the reference *",
            "first: python -m pytest test_toy.py::test_speedup",
            "toy test_speedup: * times faster (* to *, floor 30 broken)",
            "results: *gate.md",
        ]
    )
    assert "\033" not in result.stdout.str()
    assert "of the evidence" not in result.stdout.str()


# The time that is left


def test_the_time_left_is_that_of_the_last_run_at_the_speed_of_this_one():
    known = {"a": 10.0, "b": 20.0, "c": 30.0}
    assert remaining(list("abc"), set(), {}, known) == 60
    assert remaining(list("abc"), {"a"}, {"a": 20.0}, known) == 100  # twice as slow as the last run
    assert remaining(list("abc"), {"a"}, {"a": 5.0}, known) == 50  # 5 s say nothing yet
    assert remaining(list("abcd"), {"a"}, {}, known) == 75  # a new test takes as long as the others
    assert remaining(list("abc"), set(), {}, {"a": 1.0}) is None
    assert remaining(list("abc"), set("abc"), {}, known) is None


# In a terminal


@pytest.fixture
def in_terminal(pytester):
    """Run pytest in a pseudo-terminal; return what it shows."""

    def shown(*options, **environment):
        master, slave = pty.openpty()
        colours = {"NO_COLOR", "FORCE_COLOR", "PY_COLORS"}
        settings = {name: value for name, value in os.environ.items() if name not in colours}
        settings |= {"TERM": "xterm", "COLUMNS": "100", **environment}
        command = [sys.executable, "-m", "pytest", "--duel-seed=1", *options]
        with subprocess.Popen(command, cwd=pytester.path, stdout=slave, stderr=slave, env=settings) as process:
            os.close(slave)
            parts = []
            try:
                while part := os.read(master, 4096):
                    parts.append(part)
            except OSError:  # Linux's way to say that the other end is closed
                pass
            os.close(master)
            assert process.wait() == 0
        return b"".join(parts).decode()

    return shown


@pytest.fixture
def importable(monkeypatch, request):
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))


SLOW = """
def test_slow(duel):
    duel(work(0.020), work(0.015))
"""


@pytest.mark.usefixtures("importable")
def test_a_terminal_shows_test_pairs_evidence_and_from_the_second_run_on_the_time_left(suite, in_terminal):
    suite(reference=0.02, candidate=0.004, more=SLOW)
    first = in_terminal()
    assert "[1/2] test_toy.py::test_speedup" in first
    assert re.search(r"\[1/2\] toy test_speedup: \d+ pairs in \d+ s, \d+% of the evidence", first)
    assert "left]" not in first
    assert re.search(r"\[2/2, about \d+ s left\] test_toy.py::test_slow", in_terminal())


@pytest.mark.usefixtures("importable")
def test_colours_are_for_terminals_that_want_them(suite, in_terminal):
    assert "\033[32mgreen: 1 passed" in in_terminal()
    plain = in_terminal(NO_COLOR="1")
    assert "green: 1 passed" in plain
    assert not re.search(r"\033\[[0-9;]*m", plain)
