"""Which functions grew between two works."""

import cProfile
import importlib
import re
import sys
import threading
import time
from collections import Counter
from itertools import groupby

import pytest
import torch  # a process can import it only once, and pytester would forget that

from benchmarks.gate.measure import profile
from benchmarks.gate.measure.profile import ProfileError, Profiler


@pytest.fixture
def short(monkeypatch):
    """Shorten the profiles, and hide torch."""
    monkeypatch.setattr(profile, "FUNCTIONS", (0.1, 4))
    monkeypatch.delitem(sys.modules, "torch")


def growth(reference, candidate, **options):
    """Profile two works in this process."""
    return profile.growth(Profiler(reference, **options), Profiler(candidate, **options))


def spin(rounds):
    for _ in range(rounds):
        pass


def steady():
    spin(5_000)


def changed(rounds):
    for _ in range(rounds):
        pass


def calling(function, times, *arguments):
    def work():
        for _ in range(times):
            function(*arguments)

    return work


def row(grown, start):
    (found,) = (each for each in grown if each.function.startswith(start))
    return found


@pytest.mark.serial  # beside another process, one interruption doubles the time of a millisecond
def test_the_function_that_became_three_times_slower_is_first(short):
    def reference():
        steady()
        changed(50_000)

    def candidate():
        steady()
        changed(150_000)

    grown = growth(reference, candidate)
    assert re.fullmatch(r"changed \(.*test_profile\.py\)", grown[0].function)
    assert grown[0].candidate_seconds > 2 * grown[0].reference_seconds > 0
    assert [each.seconds for each in grown] == sorted((each.seconds for each in grown), reverse=True)


def test_calls_are_per_call_of_the_work(short):
    found = row(growth(calling(spin, 2, 100), calling(spin, 4, 100)), "spin")
    assert (found.reference_calls, found.candidate_calls) == (2, 4)
    assert 0 < found.reference_seconds < 0.01


def test_time_is_without_what_is_called(short):
    def waits():
        time.sleep(0.002)

    grown = growth(waits, waits)
    assert row(grown, "test_time_is_without").candidate_seconds < 0.001
    found = row(grown, "built-in method time.sleep in test_time_is_without")
    assert found.candidate_seconds > 0.0019
    assert found.candidate_calls == 1


def test_a_built_in_function_has_a_row_for_each_function_that_calls_it(short):
    def one():
        return sorted([2, 1])

    def other():
        return sorted([2, 1]), sorted([1])

    def reference():
        one(), other()

    def candidate():
        one(), other(), other()

    grown = [each for each in growth(reference, candidate) if "builtins.sorted" in each.function]
    calls = {
        each.function.split()[-2].rpartition(".")[2]: (each.reference_calls, each.candidate_calls) for each in grown
    }
    assert calls == {"one": (1, 1), "other": (2, 4)}


def test_nothing_of_the_profiler_is_listed(short):
    assert {each.function.partition(" ")[0] for each in growth(steady, steady)} == {"steady", "spin"}


def test_functions_that_only_one_side_has(short):
    grown = growth(calling(spin, 1, 2_000), calling(changed, 1, 2_000))
    new, gone = row(grown, "changed"), row(grown, "spin")
    assert (new.reference_seconds, new.reference_calls, new.candidate_calls) == (0, 0, 1)
    assert (gone.candidate_seconds, gone.candidate_calls, gone.reference_calls) == (0, 0, 1)
    assert grown.index(new) < grown.index(gone)


TOY = """
class Counter:
    def count(self, rounds):
        for _ in range(rounds):
            pass
"""


def test_functions_of_two_trees_are_matched_though_alias_and_lines_differ(short, tmp_path, monkeypatch):
    for folder, package, text in (("here", "toypackage", TOY), ("there", "toypackage_at_0123", "\n\n" + TOY)):
        case = tmp_path / folder / package / "case"
        case.mkdir(parents=True)
        (case / "__init__.py").write_text(text)
        (case / "more.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path / folder)
    names = [f"{package}.case{module}" for package in ("toypackage_at_0123", "toypackage") for module in ("", ".more")]
    there, there_more, here, here_more = (importlib.import_module(name).Counter().count for name in names)
    grown = growth(
        lambda: (there(1_000), there_more(1_000)), lambda: (here(1_000), here_more(1_000)), suffix="_at_0123"
    )
    for name in [name for name in sys.modules if name.startswith("toypackage")]:
        del sys.modules[name]
    calls = {each.function: (each.reference_calls, each.candidate_calls) for each in grown}
    assert calls["Counter.count (toypackage/case/__init__.py)"] == (1, 1)
    assert calls["Counter.count (toypackage/case/more.py)"] == (1, 1)


def test_both_sides_are_called_equally_often_and_in_turns(short, monkeypatch):
    monkeypatch.setattr(profile, "FUNCTIONS", (0.4, 4))
    order = []
    growth(lambda: order.append("reference"), lambda: (order.append("candidate"), time.sleep(0.001)))
    turns = [len(list(calls)) for _, calls in groupby(order)]
    assert len(turns) == 2 * (1 + 4)  # one call each without a profiler, then four turns
    assert turns[::2] == turns[1::2]


def test_long_work_is_called_twice(short, monkeypatch):
    monkeypatch.setattr(profile, "FUNCTIONS", (0.001, 4))
    order = []
    growth(lambda: order.append("reference"), lambda: (order.append("candidate"), time.sleep(0.002)))
    assert Counter(order) == {"reference": 2, "candidate": 2}


def fails_after(calls):
    left = iter(range(calls))

    def work():
        spin(10)
        if next(left, None) is None:
            raise OSError("disk")

    return work


@pytest.mark.parametrize("calls", [0, 1], ids=["at once", "under the profiler"])
@pytest.mark.parametrize("side", ["reference", "candidate"])
def test_a_side_that_raises(short, calls, side):
    sides = {"reference": steady, "candidate": steady, side: fails_after(calls)}
    with pytest.raises(ProfileError, match=r"^OSError: disk$"):
        growth(**sides)
    assert sys.getprofile() is None
    assert threading.getprofile() is None
    assert growth(steady, steady)  # nothing is left of the profiler


def test_work_that_no_profiler_sees(short):
    with pytest.raises(ProfileError, match="no function that a profiler sees"):
        growth(int, int)


def test_outer_tracer_and_profiler_are_paused_and_stay(short):
    seen = []

    def note(frame, event, argument):
        seen.append(frame.f_code.co_name)

    before = sys.gettrace(), sys.getprofile(), threading.getprofile()
    sys.settrace(note), sys.setprofile(note), threading.setprofile(note)
    try:
        growth(steady, steady)
        after = sys.gettrace(), sys.getprofile(), threading.getprofile()
    finally:
        sys.settrace(before[0]), sys.setprofile(before[1]), threading.setprofile(before[2])
    assert after == (note, note, note)
    assert seen
    assert "steady" not in seen


def test_an_outer_cprofile_goes_on(short):
    outer = cProfile.Profile()
    outer.enable()
    try:
        with pytest.raises(ProfileError, match="profil"):
            growth(steady, steady)
        spin(1)
    finally:
        outer.disable()
    assert "spin" in {getattr(entry.code, "co_name", "") for entry in outer.getstats()}


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="cProfile takes the calls of all threads for those of one")
def test_threads_that_the_work_starts_are_included(short):
    def work(threads):
        def run():
            started = [threading.Thread(target=changed, args=(3_000,)) for _ in range(threads)]
            for thread in started:
                thread.start()
            for thread in started:
                thread.join()

        return run

    found = row(growth(work(1), work(2)), "changed")
    assert (found.reference_calls, found.candidate_calls) == (1, 2)
    assert found.reference_seconds > 0


def test_torch_operators_where_torch_is_imported(monkeypatch):
    monkeypatch.setattr(profile, "FUNCTIONS", (0.02, 2))
    monkeypatch.setattr(profile, "OPERATORS", (0.02, 2))
    matrix = torch.ones(64, 64)
    grown = growth(lambda: matrix @ matrix, lambda: matrix @ matrix @ matrix)
    found = row(grown, "aten::mm")
    assert (found.reference_calls, found.candidate_calls) == (1, 2)
    assert 0 < found.reference_seconds < 0.1
    assert row(grown, "test_torch_operators_where_torch_is_imported.<locals>.<lambda>")
    assert not [each for each in growth(steady, steady) if each.function.startswith("aten::")]


def test_torch_is_not_imported_for_the_profile(short):
    growth(steady, steady)
    assert "torch" not in sys.modules
