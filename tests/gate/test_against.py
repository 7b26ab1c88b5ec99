"""`--against REV` in a small repository of its own: each verdict, and each way in which it must not stay green."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from benchmarks.gate.report import json_report

INI = """
[pytest]
addopts = -p pytest_benchmark.plugin -p benchmarks.gate.plugin
    --benchmark-storage=file://saved --benchmark-columns=median --strict-markers
filterwarnings = error
pythonpath = .
testpaths = suite
"""

CASE = """
import sys, time

def steady():
    time.sleep(0.003)
    return 7

def other():
    {other}
    return 7

VARIANTS = {{"steady": steady, "other": other}}
"""

SUITE = """
import pytest
from toylib.case import VARIANTS

def same(expected, found):
    assert expected == found, f"{found} and not {expected}"

@pytest.mark.parametrize("variant", VARIANTS)
def test_revision(variant, against):
    against("toylib.case", variant, lambda work: work, check=same)

def test_plain():
    pass
"""

SELFCHECKS = 3
CONTROL_AND_CANARY = 2
SLEEP = "time.sleep(0.004)"  # noisy neighbours prolong a sleep less than work


@pytest.fixture
def repository(pytester, monkeypatch, request, quick_self_checks):
    """A commit of a package with two variants and their benchmark; returns what writes the case anew."""
    monkeypatch.setattr("pytest_benchmark.plugin.get_cpu_info", dict)  # it takes a second
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # the processes start in half the time
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    pytester.makeini(INI)
    pytester.mkpydir("toylib")
    for folder in ("toylib/case", "suite"):
        (pytester.path / folder).mkdir()
    case, suite = pytester.path / "toylib/case/__init__.py", pytester.path / "suite/test_toy.py"

    def write(other=SLEEP, text=CASE, benchmarks=SUITE):
        case.write_text(text.format(other=other))
        suite.write_text(benchmarks)

    write()
    (pytester.path / ".gitignore").write_text("__pycache__\n.pytest_cache\n.benchmarks\n")
    git(pytester, "init", "-q")
    git(pytester, "add", "-A")
    git(pytester, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "first")
    return write


def git(pytester, *arguments):
    subprocess.run(["git", *arguments], cwd=pytester.path, check=True)


def run(pytester, *options, passed=2, failed=0, **others):
    result = pytester.runpytest_inprocess("--against=HEAD", "--duel-seed=1", *options)
    result.assert_outcomes(passed=passed + SELFCHECKS, failed=failed, deselected=1, **others)
    return result


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
            "E *toy test_revision[[]other[]] is slower than at HEAD (*): wall time +*% (*); confirmed in two fresh *",
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
    assert confirming == [f"--alpha={row['duel']['alpha']}"] * 2
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
            "toy test_revision[[]other[]]: slower in this process and same in a fresh one (reference loaded first)*",
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
    git(pytester, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qam", "busy")
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
    git(pytester, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qam", "a link")
    result = pytester.runpytest_inprocess("--against=HEAD", "-k", "steady")
    result.stdout.fnmatch_lines(["E *HEAD (*) has a file that cannot be unpacked safely: *toylib/outside*"])


def test_a_tie_in_noise_is_inconclusive_and_reports_the_detectable_slowdown(pytester, repository):
    repository(other="time.sleep(0.002 if time.perf_counter_ns() // 1000 % 2 else 0.006)")
    result = pytester.runpytest_inprocess("--against=HEAD", "--duel-seed=1", "--budget=0.3", "-k", "other")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["E *test_revision[[]other[]] against HEAD (*) is blind: *"])
    result.stdout.fnmatch_lines(["toy test_revision[[]other[]]: in * s a slowdown of *% was detectable; *"])


# It fails closed


def test_a_removed_variant(pytester, repository):
    repository(text=CASE.replace(', "other": other', ""))
    result = run(pytester, passed=0, failed=1)
    result.stdout.fnmatch_lines(
        ["E *suite/test_toy.py::test_revision[[]other[]] is at HEAD (*) and not here: removed or renamed?*--removed *"]
    )
    result = run(pytester, "--removed=test_revision[other]", passed=1)
    result.stdout.fnmatch_lines(["*test_revision[[]other[]] is removed, as --removed says"])


def test_a_renamed_benchmark(pytester, repository):
    repository(benchmarks=SUITE.replace("test_revision", "test_anew"))
    run(pytester, passed=1, failed=1).stdout.fnmatch_lines(["E *test_revision[[]steady[]] is at HEAD *not here*"])
    run(pytester, "--removed=test_revision")


def test_a_removal_without_effect(pytester, repository):
    result = run(pytester, "--removed=test_nonsense", passed=1, failed=1)
    result.stdout.fnmatch_lines(["E *--removed 'test_nonsense' has no effect*"])


def test_a_skipped_benchmark(pytester, repository):
    repository(benchmarks=SUITE.replace("@pytest", "@pytest.mark.skip(reason='slow day')\n@pytest", 1))
    result = run(pytester, passed=-1, failed=1, skipped=2)
    result.stdout.fnmatch_lines(["E *test_revision[[]other[]] is at HEAD * and was skipped here: *slow day*"])


def test_a_variant_that_is_skipped_here_only(pytester, repository):
    body = SUITE.replace("lambda work: work", "build").replace(
        "def test_plain",
        "def build(work):\n    if getattr(work, 'off', False):\n        pytest.skip('no such processor')\n"
        "    return work\n\ndef test_plain",
    )
    repository(text=CASE + "\nother.off = True\n", benchmarks=body)
    result = run(pytester, passed=1, failed=1)
    result.stdout.fnmatch_lines(["E *other[]] runs at HEAD * and is skipped here: no such processor*"])


def test_a_variant_that_neither_side_can_run_is_unsupported(pytester, repository):
    body = SUITE.replace("lambda work: work", "build").replace(
        "def test_plain", "def build(work):\n    pytest.skip('no such processor')\n\ndef test_plain"
    )
    repository(benchmarks=body)
    result = pytester.runpytest_inprocess("--against=HEAD", "--duel-seed=1")
    result.assert_outcomes(passed=SELFCHECKS, skipped=2, deselected=1)
    result.stdout.fnmatch_lines(["toy test_revision[[]other[]] *unsupported*", "*: no such processor"])


UNSUPPORTED = """
other.unsupported = lambda: "no such processor"
"""


def test_a_variant_that_says_it_is_unsupported(pytester, repository):
    repository(text=CASE + UNSUPPORTED)
    result = pytester.runpytest_inprocess("--against=HEAD", "--duel-seed=1")
    result.assert_outcomes(passed=1 + SELFCHECKS, skipped=1, deselected=1)
    result.stdout.fnmatch_lines(["toy test_revision[[]other[]] *unsupported*", "*other[]]: no such processor"])


def test_a_variant_that_becomes_unsupported_and_was_not(pytester, repository):
    repository(text=CASE + UNSUPPORTED.replace('"no such processor"', "None"))
    git(pytester, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qam", "supported")
    repository(text=CASE + UNSUPPORTED)
    result = run(pytester, passed=1, failed=1)
    result.stdout.fnmatch_lines(["E *other[]] runs at HEAD * and is unsupported here: no such processor*"])


def test_a_test_with_the_mark_measures_that_is_gone(pytester, repository):
    measured = "\n@pytest.mark.measures\ndef test_overload():\n    pass\n"
    repository(benchmarks=SUITE + measured)
    git(pytester, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qam", "measured")
    repository()
    run(pytester, passed=1, failed=1).stdout.fnmatch_lines(["E *test_toy.py::test_overload is at HEAD *not here*"])


def test_a_variant_that_raises(pytester, repository):
    repository(other="raise OSError('disk')")
    run(pytester, passed=1, failed=1).stdout.fnmatch_lines(["E *OSError: disk"])


def test_a_revision_that_raises(pytester, repository):
    repository(other="raise OSError('disk')")
    git(pytester, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qam", "broken")
    repository()
    result = run(pytester, passed=1, failed=1)
    result.stdout.fnmatch_lines(["E *other[]]: at HEAD (*) it raises OSError: disk. Nothing can be compared with it*"])


def test_another_result(pytester, repository):
    repository(other=f"{SLEEP}; return 8")
    result = run(pytester, passed=1, failed=1)
    result.stdout.fnmatch_lines(["E *other[]] returns something else than at HEAD (*): 8 and not 7*"])


def test_a_new_variant(pytester, repository):
    repository(text=CASE.replace('"other": other', '"other": other, "third": steady'))
    run(pytester, passed=3).stdout.fnmatch_lines(["toy test_revision[[]third[]] *new*", "*: 2 same, 1 new"])


def test_nothing_ran(pytester, repository):
    result = pytester.runpytest_inprocess("--against=HEAD", "-k", "nonsense")
    result.assert_outcomes(passed=2, failed=1, deselected=3)
    result.stdout.fnmatch_lines(["E *no benchmark ran: a comparison was requested, and nothing was measured*"])


def test_a_revision_whose_benchmarks_cannot_be_listed(pytester, repository):
    repository(benchmarks="import nonsense\n")
    git(pytester, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qam", "broken")
    repository()
    result = run(pytester, passed=1, failed=1)
    result.stdout.fnmatch_lines(["E *the benchmarks at HEAD * cannot be listed, so one could be missing here*"])


@pytest.mark.parametrize("revision", ["nonsense", "", "--all"])
def test_an_unknown_revision(pytester, repository, revision):
    assert f"git knows no revision {revision!r}" in refused(pytester, f"--against={revision}")


def test_no_repository(pytester, repository, tmp_path_factory, monkeypatch):
    (pytester.path / ".git").rename(pytester.path / "not-git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(pytester.path.parent))
    assert "git knows no revision 'HEAD'" in refused(pytester, "--against=HEAD")


@pytest.mark.parametrize("option", ["--benchmark-disable", "--benchmark-skip"])
def test_measuring_off(pytester, repository, option):
    assert "a comparison is asked for (--against) and measuring is off" in refused(pytester, "--against=HEAD", option)


@pytest.mark.parametrize("options", [["--tolerance=1"], ["--tolerance=nan"]])
def test_a_tolerance_that_makes_no_sense(pytester, repository, options):
    assert "--tolerance, --blind (in per cent): the tolerance is more than 1%" in refused(
        pytester, "--against=HEAD", *options
    )


def test_removed_without_a_comparison(pytester, repository):
    assert "--removed admits what a comparison misses" in refused(pytester, "--removed=x")


@pytest.mark.parametrize("mark", ["tolerance=0.5", "tolerance=20", "blind=2", "clock='cpu'", "nonsense=1", "3"])
def test_a_mark_that_makes_no_sense(pytester, repository, mark):
    repository(benchmarks=SUITE.replace("@pytest", f"@pytest.mark.gate({mark})\n@pytest", 1))
    run(pytester, passed=0, failed=2).stdout.fnmatch_lines(["E *UsageError: suite/test_toy.py::test_revision*"])


def refused(pytester, *options):
    """Run what must end before any test, with a message and no traceback."""
    result = pytester.runpytest_inprocess(*options)
    text = result.stdout.str() + result.stderr.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR, text
    assert "Traceback" not in text
    return text


# The self-checks


def test_a_canary_that_is_not_detected_fails_the_run(pytester, repository, quick_self_checks, monkeypatch):
    quick_self_checks.clear()
    monkeypatch.setattr("benchmarks.gate.measure.workloads.slowed", lambda work, _: work)
    result = pytester.runpytest_inprocess("--against=HEAD", "--duel-seed=1", "--budget=2", "-k", "nonsense")
    result.assert_outcomes(passed=1, failed=2, deselected=3)
    result.stdout.fnmatch_lines(
        ["E *work that is 5% slower is not found slower by wall and CPU time after *: `same` proves *"]
    )


def test_a_control_that_is_flagged_fails_the_run(pytester, repository, monkeypatch):
    monkeypatch.setattr("benchmarks.gate.plugin.selfcheck.revision_verdict", lambda _: "slower")
    result = pytester.runpytest_inprocess("--against=HEAD", "--duel-seed=1", "-k", "nonsense")
    result.assert_outcomes(passed=1, failed=2, deselected=3)
    result.stdout.fnmatch_lines(["E *work is slower than itself after *: no verdict of this run can be trusted*"])


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("from benchmarks.gate.measure import workloads\nworkloads.slowed = lambda work, _: work\n", "5% slower is"),
        (
            "from benchmarks.gate.judge import rules\nrules.revision_verdict = lambda _: 'slower'\n",
            "work is slower than itself",
        ),
    ],
    ids=["canary", "control"],
)
def test_self_checks_fail_under_python_o(pytester, repository, broken, message):
    (pytester.path / "broken.py").write_text(broken)
    options = ["-p", "broken", "--against=HEAD", "-k", "nonsense", "-W", "ignore::pytest.PytestConfigWarning"]
    done = pytester.run(sys.executable, "-O", "-m", "pytest", *options)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.stdout.fnmatch_lines([f"E *{message}*", "E *no benchmark ran*"])


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
