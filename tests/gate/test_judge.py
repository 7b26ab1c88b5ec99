"""Verdicts and the sentences that go with them."""

import math

import pytest

from benchmarks.gate.judge.rules import Judged, duration, number, questions
from benchmarks.gate.measure.duel import Answer, Duel


def found(ratio=12.3, **verdicts):
    duel = Duel(
        name="counter test_speedup[optimised]",
        pairs=18,
        ratio=ratio,
        interval=(ratio * 0.97, ratio * 1.02),
        coverage=0.9589,
        told=(ratio * 0.9, ratio * 1.1),
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


def test_what_is_asked():
    assert questions(None, None) == []
    floor, saved, improved = questions(5, found(10.0))
    assert (floor.above, floor.below, floor.needed) == (5, 5, True)
    assert saved.above == saved.below == pytest.approx(9.7 / 3)
    assert improved.above == improved.below == pytest.approx(10.2 * 3)
    assert not improved.needed


@pytest.mark.parametrize("floor", [0, -1, math.nan])
def test_a_floor_that_anything_would_hold_is_refused(floor):
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
    judged = Judged(found(**answers), 30, found(), "0001_a")
    assert (judged.floor_verdict, judged.saved_verdict) == (floor, saved)
    assert bool(judged.failure()) == (floor in ("broken", "unproven") or saved == "slower")


def test_a_broken_floor_says_by_how_much():
    assert (
        Judged(found(floor="below"), 30)
        .failure()
        .startswith(
            "counter test_speedup[optimised]: candidate is 12.3 times faster than the reference (reference 2.41 s, "
            "candidate 196 ms, 95 % interval 11.9 to 12.5, 18 pairs); the floor is 30 times. "
        )
    )


def test_an_unproven_floor_says_what_could_be_told():
    failure = Judged(found(floor="open"), 12).failure()
    assert "neither proven nor disproved" in failure
    assert "between 11.1 and 13.5 and nothing finer" in failure
    assert "--budget" in failure


def test_slower_than_saved_names_the_run_and_both_ratios():
    failure = Judged(found(3.0, saved="below"), None, found(10.0), "0007_b").failure()
    assert "candidate is 3 times faster" in failure
    assert "the saved run 0007_b has 10 times (9.7 to 10.2)" in failure
    assert "less than 3.23, which is 1/3 of that" in failure
    assert "make baseline" in failure


def test_a_candidate_slower_than_its_reference_is_called_that():
    assert "slower than the reference, 0.5 times as fast" in Judged(found(0.5, floor="below"), 30).failure()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(75.2, "75.2 s"), (1204.0, "1,204 s"), (0.196, "196 ms"), (35.21e-6, "35.2 us"), (8e-9, "8 ns"), (2.41, "2.41 s")],
)
def test_durations_have_units(seconds, text):
    assert duration(seconds) == text


def test_numbers_have_three_digits():
    assert [number(value) for value in (None, 0.1234, 12.34, 1234.5)] == ["", "0.123", "12.3", "1,234"]
