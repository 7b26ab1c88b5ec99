"""A benchmark that does less than the other revision's own is red, in the small repository of toy_suite."""

import json
import time
from dataclasses import replace
from pathlib import Path

import jsonschema
import psutil
import pytest

from benchmarks.gate.compare.bisect import witness
from benchmarks.gate.compare.revision import Revision
from benchmarks.gate.compare.work.there import record
from benchmarks.gate.measure.duel import recall
from benchmarks.gate.measure.evidence import Part, Times
from benchmarks.gate.plugin.session import CANARY
from benchmarks.gate.report import json_report

from .toy_suite import SUITE, commit, git, run

# Up to a thousand rows fit a cache, say: the kernel is slower only beyond them.
ROWS = """
import sys, time

def steady(rows):
    time.sleep(0.0003 + 2e-6 * rows)
    return list(range(rows))

def other(rows):
    {other}
    return list(range(rows))

VARIANTS = {{"steady": steady, "other": other}}
"""
KERNEL = "time.sleep(0.0003 + 2e-6 * rows)"
SLOWED = "time.sleep((0.0003 + 2e-6 * rows) * (3 if rows > 1000 else 1))"
BUILD = "lambda work: work"
SIZED = SUITE.replace(BUILD, "lambda work: lambda: work(ROWS)").replace("def same", "ROWS = 2000\n\ndef same")
FEWER = SIZED.replace("2000", "200")
ROW = "suite/test_toy.py::test_revision[other]"


class Unmeasured:
    """Stands in for the duels: both sides are the same, and the canary is found."""

    def pytest_gate_runner(self):
        return self.run

    def run(self, name, reference, candidate, questions, *, alpha, seed, decided, **_):
        seconds = 1.05 if name == CANARY else 1.0
        pairs = [Times(1.0, 1.0, seconds, seconds)] * 40
        return recall(name, questions, [Part(seed, 1, 1.0, pairs)], alpha=alpha, decided=decided)


@pytest.fixture
def rows(repository):
    """Two variants that return as many rows as their benchmark asks for; returns what writes both anew."""

    def write(other=KERNEL, benchmarks=SIZED):
        repository(other=other, text=ROWS, benchmarks=benchmarks)

    return write


@pytest.fixture
def sized(pytester, rows):
    """The same, and it is committed."""
    rows()
    commit(pytester, "rows")
    return rows


@pytest.fixture
def unmeasured(quick_self_checks):
    quick_self_checks[:] = [Unmeasured()]


def gate(pytester):
    """Return the work of --gate-json by variant, and the remarks."""
    found = json.loads((pytester.path / "gate.json").read_text())
    return {row["name"].partition("[")[2].rstrip("]"): row for row in found["revision"]["work"]}, found["remarks"]


def test_fewer_rows_beside_a_kernel_that_is_slower_at_the_old_size(pytester, sized):
    sized(other=SLOWED, benchmarks=FEWER)
    result = run(pytester, "--gate-json=gate.json", "--gate-report=gate.md", passed=0, failed=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "E *[[]other[]]: its work shrank: *result has size 200 and not 2000, *--removed 'test_revision[[]other[]]'",
            "work of the benchmark *",
            "toy test_revision[[]other[]] *shrank* 2000 * 200",
            "files of the benchmarks differ at HEAD (*) (suite/test_toy.py), so its own ran once, *: 2 in *",
            "*; work: 2 shrank*",
        ]
    )
    found = json.loads((pytester.path / "gate.json").read_text())
    schema = json.loads(Path(json_report.__file__).with_name("gate.schema.json").read_text())
    jsonschema.validate(found, schema)
    assert {row["verdict"] for row in found["revision"]["benchmarks"]} == {"same"}  # the duels alone do not see it
    work, _ = gate(pytester)
    assert work["other"]["there"]["shape"][""] == {"kind": "list", "least": [2000], "greatest": [2000]}
    assert work["other"]["here"]["shape"][""]["greatest"] == [200]
    assert "| toy test_revision[other] " in (pytester.path / "gate.md").read_text()


@pytest.mark.parametrize(
    "benchmarks",
    [SIZED.replace("2000", "2500"), SIZED.replace("def same", "# A comment.\ndef same")],
    ids=["larger", "a-comment"],
)
def test_a_benchmark_that_does_as_much(pytester, sized, unmeasured, benchmarks):
    sized(benchmarks=benchmarks)
    run(pytester, "--gate-json=gate.json", "--strict")
    assert [row["verdict"] for row in gate(pytester)[0].values()] == ["kept", "kept"]


def test_less_time_for_a_result_of_the_same_shape(pytester, sized, unmeasured):
    sized(benchmarks=SIZED.replace("lambda: work(ROWS)", "lambda: work(ROWS // 10) and [0] * ROWS"))
    result = run(pytester, passed=0, failed=2)
    result.stdout.fnmatch_lines(["E *[[]other[]]: its work shrank: *a call takes at least *, less than 25% of the *"])


def test_noise_there_is_not_less_work_here(pytester, sized, unmeasured, monkeypatch):
    asked = []

    def noisy(revision, tests):
        asked.append(len(tests))
        noise = 10 if len(asked) == 1 else 1
        return {test: replace(found, seconds=noise * found.seconds) for test, found in record(revision, tests).items()}

    monkeypatch.setattr("benchmarks.gate.plugin.hooks.record", noisy)
    sized(benchmarks=SIZED.replace("def same", "# A comment.\ndef same"))
    run(pytester)
    assert asked == [2, 1, 1]


def test_a_slower_kernel_alone_runs_nothing_there(pytester, sized, unmeasured, monkeypatch):
    monkeypatch.setattr("benchmarks.gate.plugin.hooks.record", lambda *_: pytest.fail("nothing differs"))
    (pytester.path / "suite/README.md").write_text("A note.\n")
    sized(other=SLOWED)
    run(pytester, "--gate-json=gate.json")
    assert gate(pytester) == ({}, [])


def test_only_what_is_compared_in_this_run_is_run_there(pytester, sized, unmeasured):
    failing = SIZED.replace(
        "def test_revision(variant, against):", "def test_revision(variant, against):\n    print(1)"
    )
    sized(benchmarks=failing)
    result = pytester.runpytest_inprocess("--against=HEAD", "--gate-json=gate.json", "-k", "other")
    result.assert_outcomes(passed=4, deselected=2)
    work, (remark,) = gate(pytester)
    assert list(work) == ["other"]
    assert "for their work: 1 in " in remark


def test_a_benchmark_that_is_new_is_not_asked_for_there(pytester, sized, unmeasured):
    sized(
        benchmarks=SIZED + "\ndef test_more(against):\n    against('toylib.case', 'other', lambda _: int, check=same)\n"
    )
    run(pytester, "--gate-json=gate.json", passed=3)
    assert list(gate(pytester)[0]) == ["steady", "other"]


def test_evidence_of_an_earlier_run_does_not_hide_it(pytester, sized, unmeasured):
    sized(benchmarks=FEWER)
    options = "--against=HEAD", "--evidence=evidence.json", "-k", "other"
    pytester.runpytest_inprocess(*options).assert_outcomes(passed=3, failed=1, deselected=2)
    again = pytester.runpytest_inprocess(*options)
    again.assert_outcomes(passed=3, failed=1, deselected=2)
    again.stdout.fnmatch_lines(["E *[[]other[]]: its work shrank*"])


def test_work_that_raises_with_the_package_of_the_revision(pytester, repository, sized, unmeasured):
    text, suite = ROWS.replace("(rows):", "(rows, more=0):"), SIZED.replace("work(ROWS)", "work(ROWS, 1)")
    repository(other=KERNEL, text=text, benchmarks=suite)
    result = run(pytester, passed=0, failed=2)
    result.stdout.fnmatch_lines(["E *[[]other[]]: at HEAD (*) it raises TypeError: *"])


# What is admitted


def test_removed_admits_less_work(pytester, sized, unmeasured):
    sized(benchmarks=FEWER)
    options = "--removed=test_revision[other]", "-k", "other", "--gate-json=gate.json", "--strict"
    result = pytester.runpytest_inprocess("--against=HEAD", *options)
    result.assert_outcomes(passed=4, deselected=2)
    result.stdout.fnmatch_lines(["toy *shrank, admitted*", "*[[]other[]]: its work shrank: *, as --removed admits"])
    work, _ = gate(pytester)
    assert (work["other"]["verdict"], work["other"]["admitted"]) == ("shrank", True)


def test_a_job_of_a_split_suite_may_admit_what_another_one_compares(pytester, sized, unmeasured):
    sized(benchmarks=FEWER.replace("work(ROWS)", "work(ROWS if work is VARIANTS['other'] else 2000)"))
    options = ["--against=HEAD", "--removed=test_revision[other]", "-k"]
    pytester.runpytest_inprocess(*options, "steady").assert_outcomes(passed=4, deselected=2)


def test_removed_has_no_effect_where_nothing_shrank(pytester, sized, unmeasured):
    result = run(pytester, "--removed=test_revision", passed=1, failed=1)
    result.stdout.fnmatch_lines(["E *--removed 'test_revision' has no effect*"])


# What cannot be compared


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (BUILD, "lambda work: pytest.skip('slow day')", "it is skipped there: slow day"),
        (BUILD, "lambda work: __import__('os')._exit(7)", "its process ended before, with status 7"),
        ('"toylib.case", variant', '"toylib.case", "neither"', "*neither a variant nor an attribute 'neither'"),
    ],
    ids=["skips", "dies", "has-no-variant"],
)
def test_a_benchmark_that_does_not_run_there_is_red_with_strict(pytester, rows, unmeasured, old, new, reason):
    rows(benchmarks=SUITE.replace(old, new))
    commit(pytester, "broken")
    rows()
    result = run(pytester, "--strict", passed=0, failed=2)
    result.stdout.fnmatch_lines([f"E *: work not compared: the benchmark of HEAD (*) does not run there: {reason}*"])
    result.stdout.fnmatch_lines(["E *, and --strict demands that. *"])


def test_a_benchmark_that_does_not_run_there_is_reported(pytester, rows, unmeasured, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    rows(benchmarks=SUITE.replace(BUILD, "lambda work: 1 / 0"))
    commit(pytester, "broken")
    rows()
    result = run(pytester, "--gate-json=gate.json")
    reason = "work not compared: the benchmark of HEAD (*) does not run there: ZeroDivisionError: division by zero"
    result.stdout.fnmatch_lines([f"*[[]other[]]: {reason}"])
    result.stdout.fnmatch_lines(
        ["::warning file=suite/test_toy.py,title=toy test_revision[[]other[]]::*work not compared*"]
    )
    work, _ = gate(pytester)
    assert {(row["verdict"], row["there"]) for row in work.values()} == {("not compared", None)}


def test_a_module_that_cannot_be_imported_there_does_not_hide_another_one(pytester, rows, unmeasured):
    rows(benchmarks="import nonsense\n")
    (pytester.path / "suite/test_more.py").write_text(SIZED)
    git(pytester, "add", "-A")
    commit(pytester, "broken")
    rows()
    tests = [ROW, ROW.replace("toy", "more"), "suite/test_nothing.py::test_a", ROW.replace("toy", "more") + "b"]
    revision = Revision.open(pytester.path, "HEAD")
    found = record(revision, tests)
    assert found.pop(ROW.replace("toy", "more")).shape[""].least == (2000,)
    assert found == {ROW: "ModuleNotFoundError: No module named 'nonsense'"}
    revision.close()


def test_a_run_that_cannot_start_there_gives_pytests_words(pytester, rows):
    (pytester.path / "pytest.ini").write_text("[pytest]\naddopts = --nonsense\n")
    git(pytester, "add", "-A")
    commit(pytester, "broken")
    revision = Revision.open(pytester.path, "HEAD")
    (reason,) = record(revision, [ROW]).values()
    assert reason.startswith("its process ended before, with status 4")
    assert "unrecognized arguments: --nonsense" in reason
    revision.close()


def test_a_run_that_takes_too_long_there_is_ended_with_what_it_started(pytester, rows):
    body = "import subprocess, time\n\ndef work(work):\n    if work is VARIANTS['steady']:\n        return int\n"
    body += "    child = subprocess.Popen(['sleep', '600'])\n    open('child', 'w').write(str(child.pid))\n"
    body += "    time.sleep(600)\n\ndef same"
    rows(benchmarks=SUITE.replace("def same", body).replace(BUILD, "work"))
    commit(pytester, "endless")
    revision = Revision.open(pytester.path, "HEAD")
    start = time.monotonic()
    found = record(revision, [ROW.replace("other", "steady"), ROW], 5)
    assert time.monotonic() - start < 30
    assert found.pop(ROW.replace("other", "steady")).shape[""].kind == "int", found
    assert found == {ROW: "its process was ended after 5 s"}
    child = int((revision.tree / "child").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    revision.close()


def test_a_bisection_leaves_it_alone(pytester, sized, unmeasured, quick_self_checks, monkeypatch):
    monkeypatch.setenv(witness.VARIABLE, str(pytester.path / "seen.json"))
    monkeypatch.setenv(witness.SUFFIX, "_at_0123")
    quick_self_checks.append(witness)
    sized(benchmarks=FEWER)
    run(pytester)
