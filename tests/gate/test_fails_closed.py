"""Each way in which `--against REV` must not stay green, in the small repository of toy_suite."""

import sys

import pytest

from .toy_suite import CASE, SELFCHECKS, SLEEP, SUITE, commit, refused, run


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
    commit(pytester, "supported")
    repository(text=CASE + UNSUPPORTED)
    result = run(pytester, passed=1, failed=1)
    result.stdout.fnmatch_lines(["E *other[]] runs at HEAD * and is unsupported here: no such processor*"])


def test_a_test_with_the_mark_measures_that_is_gone(pytester, repository):
    measured = "\n@pytest.mark.measures\ndef test_overload():\n    pass\n"
    repository(benchmarks=SUITE + measured)
    commit(pytester, "measured")
    repository()
    run(pytester, passed=1, failed=1).stdout.fnmatch_lines(["E *test_toy.py::test_overload is at HEAD *not here*"])


def test_a_variant_that_raises(pytester, repository):
    repository(other="raise OSError('disk')")
    run(pytester, passed=1, failed=1).stdout.fnmatch_lines(["E *OSError: disk"])


def test_a_revision_that_raises(pytester, repository):
    repository(other="raise OSError('disk')")
    commit(pytester, "broken")
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
    commit(pytester, "broken")
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
