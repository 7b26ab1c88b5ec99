"""Dependencies differ: what is no duel is compared between the two environments as well."""

import json
import platform

import pytest

from .test_against_memory import MEMORY_SUITE
from .test_against_start import START_SUITE
from .toy_dependency import AS_FAST, BENCHMARKS, CASE, FAST, SLOW, against, verdicts
from .toy_suite import SELFCHECKS, commit

LEAKING = CASE.replace("import slowlib", "import slowlib\n\nKEPT = []")
BY_VERSION = "KEPT.append(b'x' * 2**20) if slowlib.VERSION == {} else 7"


@pytest.mark.skipif(platform.system() == "Darwin", reason="macOS does not report a process's peak memory")
@pytest.mark.parametrize(("version", "verdict"), [(3, "more"), (1, "same")], ids=["leaks here", "leaks there"])
def test_memory(pytester, bump, version, verdict):
    other = BY_VERSION.format(version)
    bump(FAST, text=LEAKING, benchmarks=MEMORY_SUITE, other=other)
    commit(pytester, "memory")
    bump(AS_FAST, text=LEAKING, benchmarks=MEMORY_SUITE, other=other)
    result, _ = against(pytester)
    more = verdict == "more"
    result.assert_outcomes(passed=2 - more + SELFCHECKS, failed=int(more), deselected=1)
    rows = json.loads((pytester.path / "gate.json").read_text())["memory"]
    assert [row["revision_verdict"] for row in rows] == ["same", verdict]
    assert abs(rows[1]["candidate_bytes"] - rows[1]["reference_bytes"]) > 15 * 2**20


@pytest.mark.parametrize(("version", "verdict"), [(3, "slower"), (1, "same")], ids=["slower here", "slower there"])
def test_starts(pytester, bump, version, verdict):
    case = CASE.replace("import slowlib", f"import slowlib\ntime.sleep(0.3 * (slowlib.VERSION == {version}))")
    bump(FAST, text=case, benchmarks=START_SUITE)
    commit(pytester, "starts")
    bump(AS_FAST, text=case, benchmarks=START_SUITE)
    _, revision = against(pytester, "--starts")
    (row,) = revision["benchmarks"]
    assert (row["name"], row["verdict"] == "slower") == ("toy test_start", verdict == "slower")
    assert abs(row["duel"]["candidate"] - row["duel"]["reference"]) > 0.15


def test_a_start_that_is_new_runs_and_is_not_compared(pytester, bump):
    renamed = CASE.replace("def other()", "def another()").replace('"other": other', '"another": another')
    bump(FAST, text=renamed, benchmarks=START_SUITE)
    commit(pytester, "starts")
    bump(AS_FAST, benchmarks=START_SUITE)
    _, revision = against(pytester, "--starts")
    assert [(row["verdict"], row["duel"]) for row in revision["benchmarks"]] == [("new", None)]


# Only in the revision's environment its benchmarks do what they do there.
SIZED = """
import slowlib

ROWS = {rows} if slowlib.VERSION == 1 else 3

def same_kind(expected, found):
    assert type(expected) is type(found)
"""


def sized(rows):
    text = BENCHMARKS.replace("lambda work: work, check=same", "lambda work: lambda: [work()] * ROWS, check=same_kind")
    return text + SIZED.format(rows=rows)


def test_work_that_shrank(pytester, bump):
    bump(FAST, benchmarks=sized(2000))
    commit(pytester, "sized")
    bump(AS_FAST, benchmarks=sized(200))
    result, revision = against(pytester, "--budget=0")
    result.stdout.fnmatch_lines(["E *[[]steady[]]: its work shrank: *its result has size 200 and not 2000*"])
    assert [row["verdict"] for row in revision["work"]] == ["shrank", "shrank"]


@pytest.mark.serial
def test_a_slowdown_has_the_profiles_of_both_processes(pytester, bump):
    text = CASE.replace("    time.sleep(slowlib.SECONDS)", "    slowlib.wait()")
    bump(FAST, text=text)
    commit(pytester, "calls the library")
    bump(SLOW, text=text)
    result, revision = against(pytester, "-k", "other")
    (row,) = revision["benchmarks"]
    assert (row["verdict"], row["unprofiled"]) == ("slower", "")
    assert row["profile"][0]["function"].startswith("built-in method time.sleep in wait (slowlib.py)")
    assert verdicts(revision) == {"other": "slower"}
    result.stdout.fnmatch_lines(["*wait (slowlib.py)*"])
