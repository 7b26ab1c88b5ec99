"""A duel in parts: what is kept of it makes the same duel, bets included, and can be continued."""

import itertools
import json
import random
from dataclasses import asdict

import pytest

from benchmarks.gate.judge.rules import revision_decided, revision_questions
from benchmarks.gate.measure.duel import recall, run_duel
from benchmarks.gate.measure.evidence import Part, Times
from benchmarks.gate.measure.timing import Batch

QUESTIONS = revision_questions(0.03, 0.1)
ALPHA = 0.001
ONE = Times(1.0, 1.0, 1.0, 1.0)


class Noisy:
    """A side whose batches take a random time, and the first batch of a pair longer if it is `cold`."""

    def __init__(self, seconds, seed, order=None):
        self.seconds, self.coin, self.order = seconds, random.Random(seed), order

    def call(self):
        if self.order is not None:
            self.order[0] = 0  # a discarded call makes the caches warm
        return 7

    def batch(self, iterations):
        noise = self.coin.lognormvariate(0, 0.05)
        if self.order is not None:
            self.order[0] += 1
            noise *= 1.2 if self.order[0] % 2 else 1
        seconds = iterations * self.seconds * noise
        return Batch(seconds, seconds, 7)


def duel(*sides, budget=0, seed=1, evidence=()):
    """Without a budget the number of pairs is the least, whatever the machine's speed: the duel stays open."""
    return run_duel(
        "toy", *sides, QUESTIONS, alpha=ALPHA, budget=budget, seed=seed, decided=revision_decided, evidence=evidence
    )


def test_what_is_kept_makes_the_same_duel():
    measured = duel(Noisy(1.0, 1), Noisy(1.02, 2))
    assert not measured.done
    kept = [Part.from_dict(json.loads(json.dumps(part.to_dict()))) for part in measured.parts]
    again = recall("toy", QUESTIONS, kept, alpha=ALPHA, decided=revision_decided)
    assert asdict(again) == asdict(measured)
    assert again.answers["revision"].log_e_below == measured.answers["revision"].log_e_below != 0


def test_pairs_from_before_a_discard_lose_their_wealth_in_what_is_kept_too():
    order = [0]
    measured = duel(Noisy(1.0, 1, order), Noisy(1.02, 2, order), budget=0.2)
    (part,) = measured.parts
    assert measured.discards
    assert 0 < part.anew < len(part.pairs)
    assert measured.pairs == len(part.pairs) - part.anew
    again = recall("toy", QUESTIONS, measured.parts, alpha=ALPHA, decided=revision_decided)
    assert asdict(again) == asdict(measured)
    assert measured.answers["faster"].log_start_above < 0


def test_a_part_that_ends_with_the_discard():
    pairs = [Times(1.0, 1.0, 1.5, 1.5)] * 16
    ended = recall(
        "toy", QUESTIONS, [Part(1, 1, 1.0, pairs, anew=16, discards=True), Part(2, 1, 1.0, [ONE])], alpha=ALPHA
    )
    assert ended.pairs == 1
    with pytest.raises(ValueError, match="no pair was measured"):
        recall("toy", QUESTIONS, [Part(1, 1, 1.0, pairs, anew=16, discards=True)], alpha=ALPHA)


def test_a_later_part_goes_on_where_the_first_one_ended():
    first = duel(Noisy(1.0, 1), Noisy(1.02, 2))
    second = duel(Noisy(1.0, 3), Noisy(1.02, 4), budget=0.02, seed=2, evidence=first.parts)
    assert second.pairs == sum(len(part.pairs) for part in second.parts) > first.pairs
    assert len(second.parts) == 2
    assert second.parts[0] is first.parts[0]
    assert second.seconds == pytest.approx(sum(part.seconds for part in second.parts))
    assert len(second.candidate_seconds) == second.pairs
    # The bets of both parts are those of one duel with all the pairs, except for the running median of slow calls.
    whole = recall("toy", QUESTIONS, [Part(1, 1, 1.0, [*first.parts[0].pairs, *second.parts[1].pairs])], alpha=ALPHA)
    for name in ("revision", "blind", "cpu"):
        assert second.answers[name] == whole.answers[name]


def test_a_later_part_discards_from_the_first_pair_on_if_the_first_one_did():
    order = [0]
    first = duel(Noisy(1.0, 1, order), Noisy(1.02, 2, order), budget=0.2)
    second = duel(Noisy(1.0, 3, order), Noisy(1.02, 4, order), seed=2, evidence=first.parts)
    assert second.parts[1].discards
    assert second.parts[1].anew == 0
    assert (second.position, second.carry_over) == (first.position, first.carry_over)


def test_what_is_decided_is_not_measured_again():
    decided = [Part(1, 1, 1.0, [ONE] * 300)]
    again = duel(Noisy(1.0, 1), Noisy(1.0, 2), seed=2, evidence=decided)
    assert again.done
    assert again.pairs == 300
    assert not again.parts[1].pairs


def test_seconds_are_those_of_a_call_whatever_the_size_of_the_batches():
    parts = [Part(1, 1, 1.0, [Times(2.0, 2.0, 1.0, 1.0)] * 3), Part(2, 10, 1.0, [Times(20.0, 20.0, 10.0, 10.0)] * 4)]
    both = recall("toy", QUESTIONS, parts, alpha=ALPHA)
    assert (both.reference, both.candidate, both.iterations) == (2.0, 1.0, 10)
    assert both.cpu.candidate == 1.0
    assert both.candidate_seconds == [1.0] * 7


@pytest.mark.parametrize(
    "change",
    [
        {"pairs": [[1.0, 1.0, 0.0, 1.0]]},
        {"pairs": [[1.0, 1.0, 1.0]]},
        {"pairs": [["x", 1.0, 1.0, 1.0]]},
        {"pairs": None},
        {"iterations": 0},
        {"anew": 2},
        {"anew": -1},
        {"nonsense": 1},
    ],
)
def test_a_part_that_makes_no_sense(change):
    good = Part(1, 1, 1.0, [ONE]).to_dict()
    Part.from_dict(good)
    with pytest.raises((ValueError, TypeError)):
        Part.from_dict(good | change)


def test_no_number_that_is_not_one():
    for i, bad in itertools.product(range(4), (float("nan"), float("inf"))):
        times = [1.0] * 4
        times[i] = bad
        with pytest.raises(ValueError, match="seconds"):
            Part.from_dict(Part(1, 1, 1.0, [ONE]).to_dict() | {"pairs": [times]})
