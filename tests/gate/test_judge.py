"""Verdicts, and the messages of failed tests."""

import dataclasses
import math

import pytest

from benchmarks.gate.judge.completeness import Absence, completeness
from benchmarks.gate.judge.memory import MemoryRow
from benchmarks.gate.judge.reasons import Reason
from benchmarks.gate.judge.rules import (
    JudgedDuel,
    RevisionRow,
    by_clock,
    deciding_clock,
    questions,
    revision_decided,
    revision_questions,
    revision_verdict,
    slow_calls_open,
    slower_by_slow_calls,
)
from benchmarks.gate.measure.bets import Answer
from benchmarks.gate.measure.duel import Duel
from benchmarks.gate.measure.score import Estimate
from benchmarks.gate.report.words import (
    duel_failure,
    duration,
    memory_failure,
    number,
    quantity,
    remark,
    revision_failure,
    slowdown,
)


def result(ratio=12.3, **verdicts):
    duel = Duel(
        name="counter test_speedup[optimised]",
        pairs=18,
        ratio=ratio,
        interval=(ratio * 0.97, ratio * 1.02),
        coverage=0.9589,
        confidence_sequence=(ratio * 0.9, ratio * 1.1),
        reference=2.41,
        candidate=2.41 / ratio,
        iterations=1,
        seconds=47.0,
        seed=1,
        alpha=0.001,
    )
    for question in questions(30, duel):
        if question.name in verdicts:
            duel.answers[question.name] = Answer(question, verdict=verdicts[question.name])
    return duel


def against(ratio=1.0, **verdicts):
    duel = dataclasses.replace(result(ratio), answers={}, slow_calls=0.23)
    for question in revision_questions(0.03, 0.1):
        duel.answers[question.name] = question.answer()
        duel.answers[question.name].verdict = verdicts.get(question.name, "open")
    return duel


@pytest.mark.parametrize(
    ("answers", "verdict", "clock"),
    [
        ({"revision": "below"}, "slower", "wall"),
        ({"cpu": "below"}, "slower", "cpu"),
        ({"revision": "above", "cpu": "below"}, "slower", "cpu"),
        ({"faster": "above", "cpu": "below"}, "slower", "cpu"),
        ({"revision": "below", "cpu": "below"}, "slower", "wall"),
        ({"revision": "above"}, "same", "wall"),
        ({"cpu": "above"}, "inconclusive", "wall"),
        ({"cpu": "above", "blind": "above"}, "same", "cpu"),
        ({"revision": "above", "cpu": "above", "blind": "above"}, "same", "wall"),
        ({"blind": "above"}, "inconclusive", "wall"),
        ({"faster": "above", "revision": "above"}, "faster", "wall"),
    ],
)
def test_two_clocks(answers, verdict, clock):
    duel = against(**answers)
    assert (revision_verdict(duel), deciding_clock(duel)) == (verdict, clock)
    assert revision_decided(duel.answers) == (verdict != "inconclusive")


@pytest.mark.parametrize(("gained", "verdict"), [(-3.0, "same"), (0.0, "same"), (0.1, "inconclusive")])
def test_cpu_time_does_not_outvote_what_wall_time_says_for_slower(gained, verdict):
    duel = against(cpu="above", blind="above")
    duel.answers["revision"].log_e_below = gained
    assert revision_verdict(duel) == verdict
    assert revision_decided(duel.answers) == (verdict != "inconclusive")


def test_the_numbers_are_those_of_the_deciding_clock():
    duel = against(1.0, cpu="below")
    cpu = Estimate(0.9, (0.89, 0.91), 0.95, (0.88, 0.92), 0.9, 1.0)
    text = slowdown(dataclasses.replace(duel, cpu=cpu))
    assert text.startswith("CPU time +11.1% (95 % interval +9.9% to +12.4%, 18 pairs, 900 ms there, 1 s here")
    assert "wall time +0.0%" in text
    with pytest.raises(ValueError, match="no CPU time"):
        by_clock(duel, "cpu")


def test_a_blind_duel_fails_and_one_that_rules_out_enough_does_not():
    blind = RevisionRow("toy", "a", "HEAD", "inconclusive", against(), blind=0.1)
    assert blind.reasons(strict=False) == blind.reasons(strict=True) == (Reason.BLIND,)
    failure = revision_failure(blind, strict=False)
    assert "toy against HEAD is blind" in failure
    assert "a slowdown of 10% must be" in failure
    enough = dataclasses.replace(blind, duel=against(blind="above"))
    assert (enough.reasons(strict=False), enough.reasons(strict=True)) == ((), (Reason.INCONCLUSIVE,))
    vetoed = dataclasses.replace(blind, duel=against(revision="below"))  # slower here, and not in a fresh process
    assert vetoed.reasons(strict=False) == ()


@pytest.mark.parametrize(("tolerance", "blind"), [(0.01, 0.1), (math.nan, 0.1), (0.05, 0.04), (0.05, math.nan)])
def test_limits_that_make_no_sense(tolerance, blind):
    with pytest.raises(ValueError, match=r"tolerance"):
        revision_questions(tolerance, blind)


@pytest.mark.parametrize(
    ("answers", "verdict", "by_slow_calls", "not_ruled_out"),
    [
        ({"revision": "above", "tail": "below"}, "slower", True, None),
        ({"revision": "below", "tail": "below"}, "slower", False, None),
        ({"cpu": "below"}, "slower", False, None),
        ({"faster": "above", "tail": "below"}, "slower", True, None),
        ({"revision": "above", "tail": "above"}, "same", False, None),
        ({"revision": "above"}, "same", False, 0.23),
        ({"faster": "above", "revision": "above"}, "faster", False, 0.23),
        ({"tail": "above"}, "inconclusive", False, None),
        ({}, "inconclusive", False, None),
    ],
)
def test_slow_calls_are_part_of_the_verdict(answers, verdict, by_slow_calls, not_ruled_out):
    duel = against(**answers)
    assert revision_verdict(duel) == verdict
    assert slower_by_slow_calls(duel) is by_slow_calls
    assert slow_calls_open(duel) == not_ruled_out


def test_slow_calls_are_named_in_the_report():
    duel = against(0.999, revision="above", tail="below")
    duel.answers["tail"].more[:], duel.answers["tail"].fewer[:] = [30, 24, 2], [9, 1, 0]
    duel.answers["tail"].pairs = 220
    failure = revision_failure(RevisionRow("toy", "a", "HEAD", "slower", duel), strict=False)
    assert failure.startswith(
        "toy is slower than at HEAD: by its slow calls, of more than 1.5 times the median: only here in 24 of 220 "
        "pairs, only there in 1 (median wall time +0.1%). "
    )
    row = RevisionRow("toy", "a", "HEAD", "same", against(revision="above"))
    assert remark(row) == "slow calls: up to 23 % more not ruled out"
    assert remark(dataclasses.replace(row, duel=against(revision="above", tail="above"))) == ""


def test_discarded_calls_are_named_in_the_report():
    duel = dataclasses.replace(against(revision="above", tail="above"), discards=True, position=0.13, carry_over=None)
    text = remark(RevisionRow("toy", "a", "HEAD", "same", duel))
    assert (
        text == "a call was discarded before each batch, because the order changes the times (first of a pair +13.0%)"
    )


def test_what_is_asked():
    assert questions(None, None) == []
    floor, saved, improved = questions(5, result(10.0))
    assert (floor.above, floor.below, floor.needed) == (5, 5, True)
    assert saved.above == saved.below == pytest.approx(9.7 / 3)
    assert improved.above == improved.below == pytest.approx(10.2 * 3)
    assert not improved.needed


@pytest.mark.parametrize("floor", [0, -1, math.nan])
def test_a_floor_that_any_ratio_holds_is_refused(floor):
    with pytest.raises(ValueError, match="floor"):
        questions(floor, None)


@pytest.mark.parametrize(
    ("answers", "floor", "saved"),
    [
        ({}, None, None),
        ({"floor": "above"}, "holds", None),
        ({"floor": "below", "saved": "above"}, "broken", "same"),
        ({"floor": "open", "saved": "below"}, "unproven", "slower"),
        ({"saved": "open", "improved": "open"}, None, "inconclusive"),
        ({"saved": "above", "improved": "above"}, None, "faster"),
        ({"saved": "above", "improved": "below"}, None, "same"),
    ],
)
def test_verdicts(answers, floor, saved):
    judged = JudgedDuel("a", result(**answers), 30, result(), "0001_a")
    assert (judged.floor_verdict, judged.saved_verdict) == (floor, saved)
    assert bool(judged.reasons) == bool(duel_failure(judged)) == (floor in ("broken", "unproven") or saved == "slower")


def test_a_broken_floor_says_by_how_much():
    failure = duel_failure(JudgedDuel("a", result(floor="below"), 30))
    assert failure.startswith(
        "counter test_speedup[optimised]: candidate is 12.3 times faster than the reference (reference 2.41 s, "
        "candidate 196 ms, 95 % interval 11.9 to 12.5, 18 pairs); the floor is 30 times. "
    )


def test_an_unproven_floor_reports_the_proven_limits():
    failure = duel_failure(JudgedDuel("a", result(floor="open"), 12))
    assert "neither proven nor disproved" in failure
    assert "between 11.1 and 13.5 and nothing finer" in failure
    assert "--budget" in failure


def test_slower_than_saved_names_the_run_and_both_ratios():
    failure = duel_failure(JudgedDuel("a", result(3.0, saved="below"), None, result(10.0), "0007_b"))
    assert "candidate is 3 times faster" in failure
    assert "the saved run 0007_b has 10 times (9.7 to 10.2)" in failure
    assert "a ratio below 3.23, 1/3 of that, is proven" in failure
    assert "make baseline" in failure


def test_a_candidate_slower_than_its_reference_is_called_that():
    assert "slower than the reference, 0.5 times as fast" in duel_failure(
        JudgedDuel("a", result(0.5, floor="below"), 30)
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(75.2, "75.2 s"), (1204.0, "1,204 s"), (0.196, "196 ms"), (35.21e-6, "35.2 us"), (8e-9, "8 ns"), (2.41, "2.41 s")],
)
def test_durations_have_units(seconds, text):
    assert duration(seconds) == text


def test_numbers_have_three_digits():
    assert [number(value) for value in (None, 0.1234, 12.34, 1234.5)] == ["", "0.123", "12.3", "1,234"]


def test_quantities_have_units():
    values = [
        (213_000.4, "images per second"),
        (0.0931, "s"),
        (3 * 2**20, "B"),
        (0.99931, "share"),
        (7, ""),
        (1.25, "x"),
    ]
    assert [quantity(*value) for value in values] == [
        "213,000 images per second",
        "93.1 ms",
        "3.0 MiB",
        "99.93%",
        "7",
        "1.25 x",
    ]


def test_reasons_are_data_and_the_words_are_the_reports():
    memory = MemoryRow("toy test_memory", "a", 100, 75, 0.5)
    assert memory.reasons == (Reason.CEILING_BROKEN,)
    assert "the ceiling is 0.5 times" in memory_failure(memory)
    slower = RevisionRow("toy", "a", "HEAD", "slower", result(0.9))
    assert slower.reasons(strict=False) == (Reason.SLOWER,)
    assert "toy is slower than at HEAD" in revision_failure(slower, strict=False)
    open_row = RevisionRow("toy", "a", "HEAD", "inconclusive", result(0.9))
    assert (open_row.reasons(strict=False), open_row.reasons(strict=True)) == ((), (Reason.INCONCLUSIVE,))


def test_a_ceiling_of_none_is_recorded_and_not_judged():
    row = MemoryRow("toy", "a", 100, 10_000, None)
    assert (row.reasons, row.ceiling_verdict, row.saved_verdict) == ((), None, None)


def test_completeness():
    known = {"t.py::a": "at HEAD", "t.py::b[x]": "at HEAD", "t.py::c": "at HEAD", "t.py::d": "at HEAD"}
    checked = completeness(
        known,
        {"t.py::c", "t.py::d"},
        skipped={"t.py::c": "slow day", "t.py::d": "no GPU", "t.py::e": "new"},
        unsupported={"t.py::d"},
        removed=["b", "nonsense"],
        measured=True,
    )
    assert checked.missing == (Absence("t.py::a", "at HEAD"),)
    assert checked.skipped == (Absence("t.py::c", "at HEAD", "slow day"),)
    assert (checked.admitted, checked.unused) == (("t.py::b[x]",), ("nonsense",))
    assert not checked.complete
    here = {"skipped": {}, "unsupported": set(), "removed": []}
    assert completeness({}, set(), measured=True, **here).complete
    assert not completeness({}, set(), measured=False, **here).complete
