"""`--against REV` in a small repository of its own: each verdict. test_fails_closed has what must not stay green."""

import json
import re
import subprocess
from pathlib import Path

import jsonschema
import pytest

from benchmarks.gate.report import json_report

from .toy_suite import CASE, CONTROL_AND_CANARY, SUITE, commit, git, run


def test_nothing_changed(pytester, repository, quick_self_checks):
    quick_self_checks.clear()
    result = run(pytester, "--gate-json=gate.json", "--gate-report=gate.md")
    result.stdout.fnmatch_lines(
        [
            "*= gate =*",
            "against another revision*verdict*clock*times faster*interval*detectable*pairs*seconds",
            "toy test_revision[[]steady[]] *same*",
            "toy test_revision[[]other[]] *same*",
            "control: same after * pairs*",
            "canary: a slowdown of 5% was detected by wall and CPU time after * pairs*",
            "took: selfcheck * s, toy * s; in all * s",
            "against HEAD (*): 2 same",
        ]
    )
    found = json.loads((pytester.path / "gate.json").read_text())
    schema = json.loads(Path(json_report.__file__).with_name("gate.schema.json").read_text())
    jsonschema.validate(found, schema)
    assert [row["verdict"] for row in found["revision"]["benchmarks"]] == ["same", "same"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**found, "version": "1"}, schema)
    assert re.search(r"\| toy test_revision\[other\] +\| +same +\|", (pytester.path / "gate.md").read_text())
    assert not list(pytester.path.glob("revision-*"))


def test_the_first_side_is_built_once_and_discarded(pytester, repository):
    noting = """
def built(work):
    with open("built.txt", "a") as file:
        print(work.__module__, file=file)
    return work
"""
    repository(benchmarks=SUITE.replace("lambda work: work", "built") + noting)
    pytester.runpytest_inprocess("--against=HEAD", "--duel-seed=1", "-k", "steady")
    here, again, there = (pytester.path / "built.txt").read_text().split()
    assert here == again == "toylib.case"
    assert there.startswith("toylib_at_")


def test_slower_is_confirmed_and_fails(pytester, repository):
    repository(other="time.sleep(0.0046)")
    result = run(pytester, passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *toy test_revision[[]other[]] is slower than at HEAD (*): wall time +*% (*); confirmed in 3 of *",
            "toy test_revision[[]steady[]] *same*",
            "toy test_revision[[]other[]] *slower*",
        ]
    )


def test_alpha_is_split_before_deselection_and_a_fresh_process_gets_that_of_one_duel(pytester, repository, monkeypatch):
    confirming = []
    run_process = subprocess.run

    def spy(command, **options):
        confirming.extend(str(word) for word in command if str(word).startswith("--alpha"))
        return run_process(command, **options)

    monkeypatch.setattr("benchmarks.gate.compare.confirm.subprocess.run", spy)
    more = "\ndef test_ratio(duel):\n    pass\n"
    repository(other="time.sleep(0.0046)", benchmarks=SUITE + more)
    pytester.runpytest_inprocess("--against=HEAD", "--duel-seed=1", "-k", "other", "--gate-json=gate.json")
    found = json.loads((pytester.path / "gate.json").read_text())
    (row,) = found["revision"]["benchmarks"]
    assert row["duel"]["alpha"] == pytest.approx(0.001 / (2 + 1 + CONTROL_AND_CANARY))
    assert 3 <= len(confirming) <= 5
    assert set(confirming) == {f"--alpha={row['duel']['alpha']}"}
    options = ["--against=HEAD", "--confirm=reference:toylib.case", *confirming[:1], "--gate-json=gate.json"]
    pytester.runpytest_subprocess(*options, "suite/test_toy.py::test_revision[other]")
    (again,) = json.loads((pytester.path / "gate.json").read_text())["revision"]["benchmarks"]
    assert again["duel"]["alpha"] == row["duel"]["alpha"]


def test_faster_is_reported(pytester, repository):
    repository(other="time.sleep(0.0034)")
    run(pytester).stdout.fnmatch_lines(["toy test_revision[[]other[]] *faster*"])


def test_slower_in_one_process_only_is_inconclusive(pytester, repository):
    # Decided at import: to look for the option in each call would cost CPU time, which counts as well.
    pause = "PAUSE = 0.004 if any('--confirm' in word for word in sys.argv) else 0.0048\n\ndef steady"
    slow_here = {"other": "time.sleep(PAUSE)", "text": CASE.replace("def steady", pause)}
    repository(**slow_here)
    result = run(pytester)
    result.stdout.fnmatch_lines(
        [
            "toy test_revision[[]other[]] *inconclusive*",
            "*other[]]: slower in this process, and in 0 of 3 fresh processes (*same in the others)*",
        ]
    )
    result = run(pytester, "--strict", passed=1, failed=1)
    result.stdout.fnmatch_lines(["E *inconclusive, and --strict demands a verdict*"])


BUSY = """
def busy(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass

"""
BUSY_CASE = CASE.replace("def steady", f"{BUSY.strip()}\n\ndef steady")


def test_more_cpu_time_in_the_same_wall_time_is_slower_unless_the_mark_leaves_it_out(pytester, repository):
    # A fifth of the time is work; then two fifths are.
    repository(other="time.sleep(0.008); busy(0.002)", text=BUSY_CASE)
    commit(pytester, "busy")
    repository(other="time.sleep(0.006); busy(0.004)", text=BUSY_CASE)
    result = run(pytester, passed=1, failed=1)
    result.stdout.fnmatch_lines(["E *test_revision[[]other[]] is slower than at HEAD (*): CPU time +*%*wall time *"])
    repository(
        other="time.sleep(0.006); busy(0.004)",
        text=BUSY_CASE,
        benchmarks=SUITE.replace("@pytest", '@pytest.mark.gate(clock="wall")\n@pytest', 1),
    )
    # Whatever the verdict by wall time, to which a noisy neighbour adds: CPU time is not asked.
    pytester.runpytest_inprocess("--against=HEAD", "--duel-seed=1", "-k", "other", "--gate-json=gate.json")
    (row,) = json.loads((pytester.path / "gate.json").read_text())["revision"]["benchmarks"]
    assert row["clock"] == "wall"
    assert "revision" in row["duel"]["answers"]
    assert "cpu" not in row["duel"]["answers"]


def test_both_sides_are_named(pytester, repository):
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=pytester.path, capture_output=True, text=True, check=True)
    short = head.stdout[:12]
    options = ["--against=HEAD", "--collect-only"]
    pytester.runpytest_inprocess(*options).stdout.fnmatch_lines([f"gate: {short} against HEAD ({short})"])
    repository(other="pass")
    changed = pytester.runpytest_inprocess(*options)
    changed.stdout.fnmatch_lines([f"gate: {short} with uncommitted changes against HEAD ({short})"])


def test_a_revision_that_cannot_be_unpacked_safely(pytester, repository):
    (pytester.path / "toylib/outside").symlink_to("/")
    git(pytester, "add", "-A")
    commit(pytester, "a link")
    result = pytester.runpytest_inprocess("--against=HEAD", "-k", "steady")
    result.stdout.fnmatch_lines(["E *HEAD (*) has a file that cannot be unpacked safely: *toylib/outside*"])


def test_a_tie_in_noise_is_inconclusive_and_reports_the_detectable_slowdown(pytester, repository):
    repository(other="time.sleep(0.002 if time.perf_counter_ns() // 1000 % 2 else 0.006)")
    result = pytester.runpytest_inprocess("--against=HEAD", "--duel-seed=1", "--budget=0.3", "-k", "other")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["E *test_revision[[]other[]] against HEAD (*) is blind: *"])
    result.stdout.fnmatch_lines(["toy test_revision[[]other[]]: *in * s a slowdown of *% was detectable; *"])


# Elsewhere


def test_in_github_actions(pytester, repository, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))
    repository(other="raise OSError('100%')")
    result = run(pytester, passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["::error file=suite/test_toy.py,line=*,title=test_revision[[]other[]]::OSError*100%25"]
    )
    assert re.search(r"\| toy test_revision\[steady\] +\| +same +\|", (pytester.path / "summary.md").read_text())


def test_without_against_its_tests_are_deselected(pytester, repository):
    pytester.runpytest_inprocess().assert_outcomes(passed=1, deselected=2)
