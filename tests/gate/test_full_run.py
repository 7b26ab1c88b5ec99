"""The quick run leaves out what is marked `full`; a comparison knows that from what is missing."""

import json

from .duel_suite import run, saved_file

MARKED = """
import pytest

@pytest.mark.full
def test_long(duel):
    duel(work(0.004), work(0.001), floor=2, check=same)
"""
UNMARKED = MARKED.replace("@pytest.mark.full\n", "")


def test_a_quick_run_leaves_it_out_and_says_so(pytester, suite):
    suite(more=MARKED)
    result = run(pytester, passed=1, deselected=1)
    result.stdout.fnmatch_lines(
        ["*= summary =*", "left out, because they belong to the full run (--full): 1 benchmarks"]
    )
    result = run(pytester, "--full", passed=2)
    assert "left out" not in result.stdout.str()


def test_who_names_it_gets_it(pytester, suite):
    suite(more=MARKED)
    run(pytester, "test_toy.py::test_long", passed=1)
    run(pytester, "test_toy.py", passed=1, deselected=1)


def test_a_quick_run_against_a_full_saved_run_misses_nothing(pytester, suite):
    suite(more=MARKED)
    run(pytester, "--full", "--benchmark-save=a", passed=2)
    assert json.loads(saved_file(pytester).read_text())["gate"]["full"] == ["test_toy.py::test_long"]
    run(pytester, "--benchmark-compare", compares=True, passed=1, deselected=1)


def test_a_benchmark_that_leaves_the_quick_run_fails_it(pytester, suite):
    suite(more=UNMARKED)
    run(pytester, "--full", "--benchmark-save=a", passed=2)
    suite(more=MARKED)
    result = run(pytester, "--benchmark-compare", compares=True, passed=0, failed=1, deselected=1)
    result.stdout.fnmatch_lines(
        ["E *test_toy.py::test_long belongs to the quick run in the saved run 0001_a, and here to the full one only*"]
    )
    run(pytester, "--benchmark-compare", "--removed=test_long", compares=True, passed=1, deselected=1)
    run(pytester, "--benchmark-compare", "--full", compares=True, passed=2)


def test_a_benchmark_that_is_gone_fails_either_run(pytester, suite):
    suite(more=MARKED)
    run(pytester, "--full", "--benchmark-save=a", passed=2)
    suite()
    for options in ([], ["--full"]):
        result = run(pytester, "--benchmark-compare", *options, compares=True, passed=0, failed=1)
        result.stdout.fnmatch_lines(["E *test_toy.py::test_long is in the saved run 0001_a and not here*"])


def test_a_saved_run_from_before_the_distinction_is_no_obstacle(pytester, suite):
    suite(more=UNMARKED)
    run(pytester, "--benchmark-save=a", passed=2)
    path = saved_file(pytester)
    content = json.loads(path.read_text())
    del content["gate"]["full"]
    path.write_text(json.dumps(content))
    suite(more=MARKED)
    result = run(pytester, "--benchmark-compare", compares=True, passed=1, deselected=1)
    result.stdout.fnmatch_lines(["the saved run 0001_a does not say which of its benchmarks are quick*make baseline*"])


def test_a_marked_test_of_correctness_is_left_out_where_something_is_measured(pytester, suite):
    suite(more="\nimport pytest\n\n@pytest.mark.full\ndef test_correct():\n    pass\n")
    run(pytester, passed=1, deselected=1)
    run(pytester, "--full", passed=2)
    run(pytester, "--benchmark-skip", passed=1, skipped=1)
