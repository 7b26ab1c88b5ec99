"""The plugin in small suites of its own: which runs pass, which fail, and their messages."""

import json
import platform
import re
from pathlib import Path

import jsonschema
import pytest

from benchmarks.gate.report import json_report

SCHEMA = json.loads(Path(json_report.__file__).with_name("gate.schema.json").read_text())
INI = """
[pytest]
addopts = -p benchmarks.gate.plugin --benchmark-storage=file://saved --benchmark-columns=median --strict-markers
filterwarnings = error
"""

SUITE = """
import time

def work(seconds):
    def run():
        time.sleep(seconds)  # noisy neighbours prolong a sleep less than work
        return 7
    return run

def same(reference, candidate):
    assert reference == candidate, "wrong result"

def test_speedup(duel):
    found = duel(work({reference}), work({candidate}), floor={floor}, check={check})
    assert found.pairs == 0 or found.ratio > 1
"""


@pytest.fixture
def suite(pytester, monkeypatch, quick_self_checks):
    monkeypatch.setattr("pytest_benchmark.plugin.get_cpu_info", dict)  # it takes a second
    pytester.makeini(INI)

    def write(reference=0.005, candidate=0.001, floor=2, check="same", more=""):
        text = SUITE.format(reference=reference, candidate=candidate, floor=floor, check=check)
        pytester.makepyfile(test_toy=text + more)

    write()
    return write


SELFCHECKS = 3  # control, canary, nothing missing: in every run that compares
CONTROL_AND_CANARY = 2


def run(pytester, *options, compares=False, **outcomes):
    """Run and count; a run that compares passes its own three tests besides."""
    result = pytester.runpytest_inprocess("--duel-seed=1", *options)
    outcomes = outcomes or {"passed": 1}
    if compares:
        outcomes["passed"] = outcomes.get("passed", 0) + SELFCHECKS
    result.assert_outcomes(**outcomes)
    return result


def refused(pytester, *options):
    """Run what must end before any test, with a message and no traceback."""
    result = pytester.runpytest_inprocess(*options)
    text = result.stdout.str() + result.stderr.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR, text
    assert "INTERNALERROR" not in text
    assert "Traceback" not in text
    return text


def saved_file(pytester):
    (path,) = (pytester.path / "saved").rglob("*.json")
    return path


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


# Comparing with a saved run


def test_as_fast_as_saved(pytester, suite):
    run(pytester, "--benchmark-save=a")
    result = run(pytester, "--benchmark-compare", "--same-machine", compares=True)
    result.stdout.fnmatch_lines(
        [
            "test_speedup (0001_a)*",
            "toy test_speedup *floor holds, same*",
            "compared with the saved run 0001_a, of a like machine",
            "duels: 1; floors: 1 holds; against the saved run: 1 same",
        ]
    )


def test_slower_than_saved_fails_although_the_floor_holds(pytester, suite):
    suite(reference=0.02)
    run(pytester, "--benchmark-save=a")
    suite(reference=0.003, floor=1.2)
    result = run(pytester, "--benchmark-compare", failed=1, compares=True)
    result.stdout.fnmatch_lines(
        ["E *the saved run 0001_a has * times (* is proven. *make baseline*", "toy test_speedup *floor holds, slower*"]
    )
    run(pytester, "--benchmark-compare=0001", failed=1, compares=True)
    run(pytester, f"--benchmark-compare={saved_file(pytester)}", failed=1, compares=True)
    run(pytester)  # and without comparing the floor is all there is


def test_faster_than_saved_is_reported(pytester, suite):
    suite(reference=0.003, floor=1.2)
    run(pytester, "--benchmark-save=a")
    suite(reference=0.03)
    run(pytester, "--benchmark-compare", compares=True).stdout.fnmatch_lines(["toy test_speedup *holds, faster*"])


def test_a_run_of_an_unlike_machine_judges_floors_only(pytester, suite):
    suite(reference=0.010)
    run(pytester, "--benchmark-save=a")
    path = saved_file(pytester)
    content = json.loads(path.read_text())
    content["machine_info"]["gate"]["processor"] = "Another Processor"
    path.write_text(json.dumps(content))
    suite(reference=0.003, floor=1.2)
    result = run(pytester, "--benchmark-compare")
    result.stdout.fnmatch_lines(
        ["the saved run 0001_a is of another machine (processor Another Processor there, *): floors only"]
    )
    assert "Another Processor there" in refused(pytester, "--benchmark-compare", "--same-machine")


def test_the_last_run_of_a_like_machine_is_the_one_for_both_tables(pytester, suite):
    run(pytester, "--benchmark-save=like")
    run(pytester, "--benchmark-save=unlike")
    (path,) = (pytester.path / "saved").rglob("0002_unlike.json")
    content = json.loads(path.read_text())
    content["machine_info"]["gate"]["cores"] = 999
    path.write_text(json.dumps(content))
    result = run(pytester, "--benchmark-compare", compares=True)
    result.stdout.fnmatch_lines(["test_speedup (0001_like)*", "compared with the saved run 0001_like, *"])
    assert "unlike)" not in result.stdout.str()


def test_no_saved_run_is_reported_and_an_error_if_one_was_named_or_is_needed(pytester, suite):
    result = run(pytester, "--benchmark-compare")
    result.stdout.fnmatch_lines(["there is no saved run in *saved (make baseline saves one): floors only"])
    assert "no saved run matches '0042'" in refused(pytester, "--benchmark-compare=0042")
    assert "no saved run" in refused(pytester, "--benchmark-compare", "--same-machine")
    assert "no saved run" in refused(pytester, "--benchmark-compare", "--benchmark-compare-fail=median:5%")
    assert "acceptable glob" in refused(pytester, "--benchmark-compare=a/b/c")


def test_a_saved_run_cut_short_is_an_error_that_names_it(pytester, suite):
    run(pytester, "--benchmark-save=a")
    path = saved_file(pytester)
    path.write_text(path.read_text()[:-100])
    for option in ("--benchmark-compare", "--benchmark-compare=0001"):
        text = refused(pytester, option)
        assert path.name in text
        assert "damaged" in text


@pytest.mark.parametrize("off", ["--benchmark-disable", "--benchmark-skip"])
def test_comparing_without_measuring_is_refused(pytester, suite, off):
    run(pytester, "--benchmark-save=a")
    assert "measuring is off" in refused(pytester, "--benchmark-compare", off)


def test_compare_fail_still_fails(pytester, suite):
    run(pytester, "--benchmark-save=a")
    suite(reference=0.050, candidate=0.010)
    result = pytester.runpytest_inprocess("--benchmark-compare", "--benchmark-compare-fail=median:100%")
    assert result.ret != 0
    text = result.stdout.str() + result.stderr.str()
    assert "Performance has regressed" in text
    assert "floor holds, same" in text


def test_storage_in_the_configuration_file_is_found_from_a_folder_below(pytester, suite, monkeypatch):
    run(pytester, "--benchmark-save=a")
    below = pytester.mkdir("below")
    monkeypatch.chdir(below)
    result = run(pytester, "..", "--benchmark-compare", compares=True)
    result.stdout.fnmatch_lines(["compared with the saved run 0001_a, *"])
    assert not list(below.iterdir())
    # On the command line a folder is what it is everywhere else: relative to where one is.
    run(pytester, "--benchmark-storage=file://here", "--benchmark-save=b", "..")
    assert list((below / "here").rglob("*_b.json"))


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
