"""The plugin in small suites of its own: which runs pass, which fail, and their messages."""

import json
import platform
import re
from pathlib import Path

import jsonschema
import pytest

from benchmarks.gate.measure.duel import run_duel
from benchmarks.gate.report import json_report

from .duel_suite import run, saved_file
from .toy_suite import CONTROL_AND_CANARY, refused

SCHEMA = json.loads(Path(json_report.__file__).with_name("gate.schema.json").read_text())
# Floors


def test_a_floor_that_holds(pytester, suite):
    result = run(pytester)
    result.stdout.fnmatch_lines(
        [
            "*= duels =*",
            "duel*verdict*times faster*interval*floor*pairs*seconds*saved",
            "toy test_speedup *floor holds* to * 2 *-",
            "duels: 1; floors: 1 holds",
            "--duel-seed 1 repeats *",
        ]
    )


def test_a_floor_above_the_truth_fails_and_says_by_how_much(pytester, suite):
    suite(floor=30)
    result = run(pytester, failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *AssertionError: toy test_speedup: candidate is * times faster than the reference *; the floor is 30 *",
            "toy test_speedup *floor broken*",
        ]
    )
    assert "def run_duel" not in result.stdout.str()


# The reference takes 10 and 2 ms in turn, so that half of all pairs are on either side of the floor.
UNEVEN = """
turns = []

def uneven():
    turns.append(None)
    work(0.010 if len(turns) % 2 else 0.002)()

def test_uneven(duel):
    duel(uneven, work(0.002), floor=2, budget=0)
"""


def test_a_floor_that_stays_unproven_fails_too(pytester, suite):
    suite(more=UNEVEN)
    result = run(pytester, "-k", "uneven", failed=1)
    result.stdout.fnmatch_lines(["E *neither proven nor disproved*nothing finer*--budget*", "*floor unproven*"])


class Budgets:
    """A runner that notes the seconds of each duel."""

    def __init__(self):
        self.seen = []

    def pytest_gate_runner(self):
        def run(*duel, budget, **settings):
            self.seen.append(budget)
            return run_duel(*duel, budget=0, **settings)

        return run


@pytest.mark.parametrize(("options", "seconds"), [((), 180), (("--budget=7",), 7)])
def test_a_floor_has_three_minutes_or_what_is_asked_for(pytester, suite, quick_self_checks, options, seconds):
    quick_self_checks[:] = [budgets := Budgets()]
    pytester.runpytest_inprocess(*options)  # which proves the floor or, on a busy machine, does not
    assert budgets.seen == [seconds]


def test_a_wrong_result_fails_and_is_not_recorded(pytester, suite):
    suite(check="lambda reference, candidate: same(reference, 8)")
    result = run(pytester, failed=1)
    result.stdout.fnmatch_lines(["E *wrong result*"])
    assert "benchmark 'toy" not in result.stdout.str()
    assert "= duels =" not in result.stdout.str()


def test_one_measurement_per_test(pytester, suite):
    suite(more="\ndef test_twice(duel, benchmark):\n    benchmark(lambda: 1)\n    duel(work(0.002), work(0.001))\n")
    result = run(pytester, "-k", "twice", failed=1)
    result.stdout.fnmatch_lines(["*one measurement per test: *benchmark(...)*"])


def test_alpha_is_split_over_the_duels_of_the_suite_whatever_k_selects(pytester, suite):
    suite(reference=0.02, more="".join(f"\ndef test_more_{i}(duel):\n    pass\n" for i in range(40)))

    def pairs(*options):
        pytester.runpytest_inprocess("--benchmark-json=out.json", "--duel-seed=1", *options)
        (bench,) = json.loads((pytester.path / "out.json").read_text())["benchmarks"]
        return bench["extra_info"]["duel"]["pairs"], bench["extra_info"]["duel"]["alpha"]

    everything = pairs("-W", "ignore")
    assert everything[1] == pytest.approx(0.001 / (41 + CONTROL_AND_CANARY))
    for selection in (
        ["-k", "speedup"],
        ["-k", "not more"],
        [f"--deselect=test_toy.py::test_more_{i}" for i in range(40)],
    ):
        assert pairs(*selection) == everything
    assert pairs("-k", "speedup", "--alpha=0.05")[0] < everything[0]


# pytest-benchmark's own options


def test_measuring_off_runs_and_checks_but_judges_nothing(pytester, suite):
    suite(floor=30)
    result = run(pytester, "--benchmark-disable")
    result.stdout.fnmatch_lines(["measuring is off: *nothing is judged, in duels: 1"])
    suite(check="lambda reference, candidate: same(reference, 8)")
    run(pytester, "--benchmark-disable", failed=1)


def test_only_and_skip(pytester, suite):
    suite(more="\ndef test_plain():\n    pass\n")
    run(pytester, "--benchmark-only", passed=1, skipped=1).stdout.fnmatch_lines(["toy test_speedup *floor holds*"])
    result = run(pytester, "--benchmark-skip", passed=1, skipped=1)
    assert "= duels =" not in result.stdout.str()


def test_the_candidate_is_in_the_table_and_the_saved_file(pytester, suite):
    suite(candidate=1e-5)
    result = run(pytester, "--benchmark-json=out.json")
    result.stdout.fnmatch_lines(["*benchmark 'toy duels': 1 tests*", "test_speedup*", "results: out.json"])
    content = json.loads((pytester.path / "out.json").read_text())
    (bench,) = content["benchmarks"]
    duel = bench["extra_info"]["duel"]
    # This notices a change of the private API that `claim` and `record` use: times are per call, in seconds.
    assert bench["group"] == "toy duels"
    assert bench["stats"]["rounds"] == duel["pairs"] == len(bench["stats"]["data"])
    assert bench["stats"]["iterations"] == duel["iterations"] > 1
    assert bench["stats"]["median"] == pytest.approx(duel["candidate"])
    assert 1e-5 <= duel["candidate"] < 1e-3
    assert content["machine_info"]["gate"]["cores"] >= 1


def test_a_group_of_the_users_own_is_kept(pytester, suite):
    mark = "\nimport pytest\n@pytest.mark.benchmark(group='mine')\n"
    suite(more=mark + "def test_own(duel):\n    duel(work(0.002), work(0.001))\n")
    run(pytester, passed=2).stdout.fnmatch_lines(["*benchmark 'mine': 1 tests*"])


def test_profile_beside_duels(pytester, suite):
    suite(more="\ndef test_plain(benchmark):\n    benchmark.pedantic(work(0.001), rounds=2)\n")
    result = run(pytester, "--benchmark-cprofile=cumtime", "--benchmark-json=out.json", passed=2)
    result.stdout.fnmatch_lines(["*cProfile*", "test_toy.py::test_plain*", "*= duels =*"])


def test_histogram_beside_duels(pytester, suite, monkeypatch, request):
    # In a process of its own: pygal changes how imports work, and later runs in this one would find no plugins.
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))
    pytester.runpytest_subprocess("--benchmark-histogram=plot").assert_outcomes(passed=1)
    assert list(pytester.path.glob("plot*.svg"))


def test_quiet_and_without_a_terminal(pytester, suite):
    run(pytester, "-q").stdout.fnmatch_lines(["toy test_speedup *floor holds*"])
    result = pytester.runpytest_inprocess("-p", "no:terminal", "--gate-report=out/report.md")
    assert result.ret == 0
    assert "toy test_speedup" in (pytester.path / "out/report.md").read_text()


def test_the_report_says_where_it_went(pytester, suite):
    suite(floor=30)
    result = run(pytester, "--gate-report=report.md", failed=1)
    result.stdout.fnmatch_lines(["results: report.md"])
    assert re.search(
        r"^\| toy test_speedup +\| +floor broken +\|", (pytester.path / "report.md").read_text(), re.MULTILINE
    )


@pytest.mark.parametrize(
    "option", ["--alpha=0", "--alpha=1", "--alpha=nan", "--budget=-1", "--budget=nan", "--same-machine"]
)
def test_options_that_make_no_sense_are_refused(pytester, suite, option):
    assert option.partition("=")[0] in refused(pytester, option)


# Memory

measurable = pytest.mark.skipif(platform.system() == "Darwin", reason="macOS does not report a process's peak memory")

MEMORY = """
def test_memory(peak_memory, ceiling):
    ceiling(peak_memory(bytearray, 80 << 20), peak_memory(bytearray, 20 << 20), {limit})
"""


@measurable
def test_a_ceiling(pytester, suite):
    suite(more=MEMORY.format(limit=0.5))
    result = run(pytester, "-k", "memory")
    result.stdout.fnmatch_lines(
        ["toy test_memory *ceiling holds * MiB * MiB *0.2* 0.5 *-", "duels: 0; ceilings: 1 hold, 0 broken"]
    )
    suite(more=MEMORY.format(limit=0.1))
    result = run(pytester, "-k", "memory", failed=1)
    result.stdout.fnmatch_lines(
        ["E *peak memory of the candidate is * MiB*reference's * MiB; the ceiling is 0.1 times*"]
    )


@measurable
def test_the_tests_of_a_parametrised_function_with_a_ceiling_and_no_benchmark(pytester, suite):
    marks = "\nimport pytest\n@pytest.mark.parametrize('size', [1, 2, 3])\n"
    suite(more=f"{marks}def test_memory(size, ceiling):\n    ceiling(8 << 20, size << 20, 0.5)\n")
    run(pytester, "-k", "memory", passed=3, deselected=1)
    run(pytester, "-k", "memory", "--benchmark-skip", skipped=3, deselected=1)


def test_more_memory_than_saved_fails_although_the_ceiling_holds(pytester, suite):
    suite(more=MEMORY.format(limit=0.9))
    run(pytester, "--benchmark-save=a", passed=2)
    result = run(pytester, "--benchmark-compare", passed=2, compares=True)
    result.stdout.fnmatch_lines(["*memory against the saved run: 1 same"])
    suite(more=MEMORY.format(limit=0.9).replace("20 <<", "40 <<"))
    result = run(pytester, "--benchmark-compare", passed=1, failed=1, compares=True)
    result.stdout.fnmatch_lines(["E *the saved run 0001_a has * MiB, 0.2* times its reference's. Find what*"])
    result.stdout.fnmatch_lines(["*memory against the saved run: 1 more"])


def test_a_reference_without_memory_is_refused(pytester, suite):
    suite(more="\ndef test_memory(ceiling):\n    ceiling(0, 0, 0.5)\n")
    run(pytester, "-k", "memory", failed=1).stdout.fnmatch_lines(["E *make its input larger*"])


@measurable
def test_a_ceiling_of_none_records_and_does_not_judge(pytester, suite):
    suite(more=MEMORY.format(limit=None).replace("20 <<", "100 <<"))
    result = run(pytester, "-k", "memory", "--gate-json=gate.json")
    result.stdout.fnmatch_lines(["toy test_memory *measured * MiB * MiB *1.2* - *-"])
    (row,) = json.loads((pytester.path / "gate.json").read_text())["memory"]
    assert row["ceiling"] is None
    assert (row["name"], row["test"]) == ("toy test_memory", "test_toy.py::test_memory")


@measurable
def test_a_peak_is_measured_once(pytester, suite):
    suite(
        more="\nimport time\ndef test_memory(peak_memory):\n    first = peak_memory(time.sleep, 0.3)\n"
        "    start = time.monotonic()\n    assert peak_memory(time.sleep, 0.3) == first\n"
        "    assert time.monotonic() - start < 0.1\n"
    )
    run(pytester, "-k", "memory")


def test_a_system_without_the_reading_skips(pytester, suite, monkeypatch):
    monkeypatch.setattr("benchmarks.gate.measure.memory.platform.system", lambda: "Plan9")
    suite(more=MEMORY.format(limit=0.5))
    run(pytester, "-k", "memory", "-rs", skipped=1).stdout.fnmatch_lines(["*Plan9 does not report*"])


# Notes, and tests that measure without a benchmark


NOTES = """
import pytest

def test_noted(duel, note):
    duel(work(0.002), work(0.001))
    note("images per second", 213000.4)
    note("CPU time", 0.093, "s")

@pytest.mark.measures
def test_overload(note):
    note("answered", 0.999, "share")
"""


def test_notes(pytester, suite):
    suite(more=NOTES)
    result = run(pytester, "--gate-json=gate.json", "--benchmark-json=out.json", "--gate-report=r.md", passed=3)
    lines = [
        "toy test_noted: images per second 213,000; CPU time 93 ms",
        "toy test_overload: answered 99.90%",
    ]
    result.stdout.fnmatch_lines(lines)
    assert all(f"- {line}" in (pytester.path / "r.md").read_text() for line in lines)
    document = json.loads((pytester.path / "gate.json").read_text())
    jsonschema.validate(document, SCHEMA)
    assert document["notes"] == [
        {"test": "test_toy.py::test_noted", "name": "images per second", "value": 213000.4, "unit": ""},
        {"test": "test_toy.py::test_noted", "name": "CPU time", "value": 0.093, "unit": "s"},
        {"test": "test_toy.py::test_overload", "name": "answered", "value": 0.999, "unit": "share"},
    ]
    saved = json.loads((pytester.path / "out.json").read_text())
    (bench,) = (bench for bench in saved["benchmarks"] if bench["name"] == "test_noted")
    assert [note["name"] for note in bench["extra_info"]["notes"]] == ["images per second", "CPU time"]
    assert [note["value"] for note in saved["gate"]["notes"]["test_toy.py::test_overload"]] == [0.999]


def test_duels_in_json_carry_the_test(pytester, suite):
    run(pytester, "--gate-json=gate.json")
    document = json.loads((pytester.path / "gate.json").read_text())
    jsonschema.validate(document, SCHEMA)
    (row,) = document["duels"]
    assert row["test"] == "test_toy.py::test_speedup"
    del row["test"]
    with pytest.raises(jsonschema.ValidationError, match="'test' is a required property"):
        jsonschema.validate(document, SCHEMA)


def test_the_mark_measures_is_like_the_use_of_a_benchmark(pytester, suite):
    skipped = "\n@pytest.mark.measures\ndef test_impossible():\n    pytest.skip('no such machine')\n"
    suite(more=NOTES + skipped + "\ndef test_plain():\n    pass\n")
    run(pytester, "--benchmark-skip", passed=1, skipped=4)
    run(pytester, "--benchmark-only", passed=3, skipped=2)
    run(pytester, "--benchmark-disable", passed=4, skipped=1)
    run(pytester, "--benchmark-save=a", passed=4, skipped=1)
    # What was skipped did not measure, so later runs need not have it.
    assert json.loads(saved_file(pytester).read_text())["gate"]["measures"] == ["test_toy.py::test_overload"]
    suite(more=NOTES.replace("def test_overload", "def test_renamed"))
    result = run(pytester, "--benchmark-compare", passed=5, failed=1)
    result.stdout.fnmatch_lines(["E *test_toy.py::test_overload is in the saved run 0001_a and not here*"])
    assert "test_impossible" not in result.stdout.str()
