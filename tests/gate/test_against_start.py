"""The fixture `against_start`: imports and first calls in fresh processes, in each revision's own tree."""

import json

import pytest

from benchmarks.gate.judge.rules import START_FACTOR, start_questions
from benchmarks.gate.measure import starts
from benchmarks.gate.measure.starts import Start, StartError

from .toy_suite import SELFCHECKS, SUITE, commit

START_SUITE = """
from toylib.case import VARIANTS

SCRIPT = "from toylib.case import VARIANTS; print(VARIANTS['other']())"

def test_start(against_start):
    assert against_start("toylib.case", "other", SCRIPT).name == "toy test_start"
"""
SLOW_IMPORT = """
import sys, time
{other}
def other():
    return 7

VARIANTS = {{"other": other}}
"""
QUICK, SLOW = "", "time.sleep(0.2)"


@pytest.fixture
def of_starts(repository, pytester):
    """Write the toy suite with a test of starts; the first time it becomes the revision."""

    def write(other=QUICK, text=SLOW_IMPORT, *, committed=False):
        repository(other, text, START_SUITE)
        if committed:
            commit(pytester, "starts")

    return write


def started(pytester, *options):
    options = ["--against=HEAD", "--starts", "--duel-seed=1", "--gate-json=gate.json", *options]
    result = pytester.runpytest_inprocess(*options)
    return result, json.loads((pytester.path / "gate.json").read_text(encoding="utf-8"))["revision"]["benchmarks"]


def test_a_slower_import_is_red(pytester, of_starts):
    of_starts(committed=True)
    of_starts(SLOW)
    result, (row,) = started(pytester)
    result.assert_outcomes(passed=SELFCHECKS, failed=1)
    assert row["verdict"] == "slower"
    assert 0.1 < row["duel"]["candidate"] - row["duel"]["reference"] < 0.4
    result.stdout.fnmatch_lines(["E *toy test_start is slower than at HEAD (*): wall time +*"])


def test_an_unchanged_one_is_the_same_and_each_side_runs_in_its_own_tree(pytester, of_starts):
    of_starts(SLOW, committed=True)
    of_starts(SLOW + "  # a comment")
    result, (row,) = started(pytester)
    result.assert_outcomes(passed=1 + SELFCHECKS)
    assert row["verdict"] == "same"
    assert row["duel"]["pairs"] <= 40


def test_a_faster_import_is_faster(pytester, of_starts):
    of_starts(SLOW, committed=True)
    of_starts()
    result, (row,) = started(pytester)
    result.assert_outcomes(passed=1 + SELFCHECKS)
    assert row["verdict"] in {"faster", "same"}
    assert row["duel"]["ratio"] > START_FACTOR


@pytest.mark.parametrize(
    ("there", "here", "message"),
    [
        ("return 7", "return 8", "prints '8\\n' here and '7\\n' at the revision"),
        ("return 7", "1 // 0", "toy test_start does not start: the script ended with status 1:"),
        ("1 // 0", "return 7", "toy test_start does not start at HEAD ("),
    ],
    ids=["another result", "fails here", "fails there"],
)
def test_what_cannot_be_compared_is_red(pytester, of_starts, there, here, message):
    of_starts(text=SLOW_IMPORT.replace("return 7", there), committed=True)
    of_starts(text=SLOW_IMPORT.replace("return 7", here))
    result, _ = started(pytester)
    result.assert_outcomes(passed=SELFCHECKS, failed=1)
    assert message in result.stdout.str()


def test_a_new_variant_starts_and_is_not_compared(pytester, of_starts):
    of_starts(
        text=SLOW_IMPORT.replace("other()", "another()").replace('"other": other', '"another": another'), committed=True
    )
    of_starts()
    result, (row,) = started(pytester)
    result.assert_outcomes(passed=1 + SELFCHECKS)
    assert (row["verdict"], row["duel"]) == ("new", None)


def test_starts_are_compared_if_asked(pytester, of_starts, repository):
    of_starts(committed=True)
    repository(benchmarks=SUITE + START_SUITE)
    result = pytester.runpytest_inprocess("--against=HEAD", "-k", "steady or start")
    result.assert_outcomes(passed=1 + SELFCHECKS, deselected=3)
    result = pytester.runpytest_inprocess("--starts")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--starts compares with another revision: add --against" in result.stdout.str() + result.stderr.str()


def test_the_script_finds_its_folders_first(tmp_path):
    package = tmp_path / "src" / "json"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import os\nprint(os.getcwd())")
    assert Start("import json", tmp_path, [tmp_path / "src"]).call().strip() == str(tmp_path)


def test_a_script_that_fails_or_hangs_is_an_error(tmp_path, monkeypatch):
    with pytest.raises(StartError, match=r"status 3:\nbefore"):
        Start("print('before'); raise SystemExit(3)", tmp_path).call()
    monkeypatch.setattr(starts, "TIMEOUT", 0.3)
    with pytest.raises(StartError, match=r"did not end within 0.3 s"):
        Start("import time; time.sleep(9)", tmp_path).batch(1)


def test_cpu_time_is_the_processes(tmp_path):
    spinning = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\nprint(7)"
    batch = Start(spinning, tmp_path).batch(2)
    assert batch.result == "7\n"
    assert 0.6 < batch.cpu < 1.5
    assert batch.wall > 0.6


def test_the_limit_is_one_and_a_half():
    question, faster = start_questions()
    assert question.above == question.below == pytest.approx(1 / 1.5)
    assert not faster.needed
