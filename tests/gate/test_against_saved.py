"""Runs that compare with a saved run: which one is chosen, what fails, and the messages."""

import json

import pytest

from .duel_suite import run, saved_file
from .toy_suite import refused


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
    assert "red: not by a failed test, but by what is shown above; 4 passed" in text
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
