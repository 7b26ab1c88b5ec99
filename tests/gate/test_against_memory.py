"""The fixture `against_memory`: what a call does not give back is red, and so is what only one revision can run."""

import json
import platform

import pytest

from benchmarks.gate.judge.memory import MIB, MemoryRow
from benchmarks.gate.judge.reasons import Reason

from .toy_suite import CASE, commit

SELFCHECKS = 3
MEMORY_SUITE = """
import pytest
from toylib.case import VARIANTS

def calls(work, times):
    for _ in range(times):
        work()

@pytest.mark.parametrize("variant", VARIANTS)
def test_memory(variant, against_memory):
    row = against_memory("toylib.case", variant, lambda work: (calls, work, 20))
    assert row is None or row.test.endswith(f"test_memory[{variant}]")

def test_plain():
    pass
"""
LEAK = "KEPT.append(b'x' * 2**20)"
LEAKING = CASE.replace("import sys, time", "import sys, time\n\nKEPT = []")
UNSUPPORTED = """
class Variant:
    def __call__(self):
        return 7
    def unsupported(self):
        return REASON

VARIANTS["other"] = Variant()
"""


@pytest.fixture
def of_memory(repository, pytester):
    """Write the toy suite with tests of memory instead of time; `commit=True` makes it the revision."""
    if platform.system() == "Darwin":
        pytest.skip("macOS does not report a process's peak memory")

    def write(other="pass", text=LEAKING, *, committed=False):
        repository(other, text, MEMORY_SUITE)
        if committed:
            commit(pytester, "with memory")

    return write


def measured(pytester, *options):
    result = pytester.runpytest_inprocess("--against=HEAD", "--duel-seed=1", "--gate-json=gate.json", *options)
    rows = json.loads((pytester.path / "gate.json").read_text(encoding="utf-8"))["memory"]
    return result, {row["name"].partition("[")[2][:-1]: row for row in rows}


def test_what_a_call_does_not_give_back_is_red(pytester, of_memory):
    of_memory(committed=True)
    of_memory(LEAK)
    result, rows = measured(pytester)
    result.assert_outcomes(passed=1 + SELFCHECKS, failed=1, deselected=1)
    assert {name: row["revision_verdict"] for name, row in rows.items()} == {"steady": "same", "other": "more"}
    assert 19 * MIB < rows["other"]["candidate_bytes"] - rows["other"]["reference_bytes"] < 30 * MIB
    result.stdout.fnmatch_lines(
        ["E *toy test_memory[[]other[]]: peak memory *the reference is HEAD (*), and so it was *what a call does not*"]
    )
    result.stdout.fnmatch_lines(["*memory against the revision: 1 same, 1 more*"])


@pytest.mark.parametrize(
    ("peaks", "verdict"),
    [
        ([50, 10, 10, 50, 50, 10], "more"),  # candidate, reference; reference, candidate; candidate, reference
        ([50, 10, 10, 50, 10, 10], "same"),
        ([50, 10, 50, 50], "same"),
        ([10, 50], "same"),
    ],
)
def test_more_is_said_by_three_pairs(pytester, of_memory, monkeypatch, peaks, verdict):
    of_memory(committed=True)
    of_memory("1 + 1")
    left = [peak * MIB for peak in peaks]
    monkeypatch.setattr("benchmarks.gate.measure.memory.peak_memory", lambda *_, **__: left.pop(0))
    _, rows = measured(pytester, "-k", "other or missing or control")
    assert rows["other"]["revision_verdict"] == verdict
    assert not left


def test_less_memory_and_a_new_variant_are_not(pytester, of_memory):
    of_memory(LEAK, committed=True)
    of_memory(text=LEAKING + '\nVARIANTS["new"] = steady\n')
    result, rows = measured(pytester)
    result.assert_outcomes(passed=3 + SELFCHECKS, deselected=1)
    assert {name: row["revision_verdict"] for name, row in rows.items()} == {"steady": "same", "other": "same"}


def test_a_removed_variant_is_missing(pytester, of_memory):
    of_memory(committed=True)
    of_memory(text=LEAKING.replace(', "other": other', ""))
    result, _ = measured(pytester)
    result.stdout.fnmatch_lines(["E *test_memory[[]other[]] is at HEAD (*) and not here: removed or renamed?*"])


@pytest.mark.parametrize(("there", "failed"), [("no", 0), (None, 1)], ids=["nowhere", "only there"])
def test_a_variant_that_this_machine_cannot_run(pytester, of_memory, there, failed):
    text = LEAKING + UNSUPPORTED
    of_memory(text=text.replace("REASON", repr(there)), committed=True)
    of_memory(text=text.replace("REASON", "'no such instruction'"))
    result, _ = measured(pytester)
    result.assert_outcomes(passed=1 + SELFCHECKS, failed=failed, skipped=1 - failed, deselected=1)
    if failed:
        result.stdout.fnmatch_lines(["E *runs at HEAD (*) and is unsupported here: no such instruction"])


def test_it_takes_no_turn_from_the_duels(pytester, of_memory):
    of_memory()
    pytester.makeconftest(
        "from benchmarks.gate.plugin.session import SESSION\n"
        "def pytest_collection_finish(session):\n"
        "    print('waiting:', session.config.stash[SESSION].turns.waiting)\n"
    )
    result = pytester.runpytest_inprocess("--against=HEAD", "--collect-only", "-s")
    result.stdout.fnmatch_lines(["*waiting: set()*"])


def test_it_is_deselected_without_against(pytester, of_memory):
    of_memory()
    pytester.runpytest_inprocess().assert_outcomes(passed=1, deselected=2)


@pytest.mark.parametrize(
    ("reference", "candidate", "verdict"),
    [(0, 3, "same"), (0, 5, "more"), (10, 13, "same"), (10, 15, "more"), (100, 124, "same"), (100, 126, "more")],
)
def test_more_is_a_quarter_and_4_mib(reference, candidate, verdict):
    row = MemoryRow("name", "test", reference * MIB, candidate * MIB, None, revision="HEAD")
    assert row.revision_verdict == verdict
    assert row.reasons == ((Reason.MORE_MEMORY,) if verdict == "more" else ())
    assert MemoryRow("name", "test", 1, candidate * MIB, None).revision_verdict is None
