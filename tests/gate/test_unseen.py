"""What counting pairs by their median cannot see: slow calls, and what the order does. Simulated through `run_duel`."""

import random
from collections import Counter

import pytest

from benchmarks.gate.judge.rules import (
    SLOW_CALLS,
    revision_decided,
    revision_questions,
    revision_verdict,
    slow_calls_open,
)
from benchmarks.gate.measure import duel
from benchmarks.gate.measure.bets import alpha_of_a_bet
from benchmarks.gate.measure.score import Score
from benchmarks.gate.measure.tail import TailQuestion
from benchmarks.gate.measure.timing import Batch

QUESTIONS = {question.name: question for question in revision_questions(0.03, 0.1)}


class World:
    """What two sides share: a seeded source of noise, who ran last, and whose caches are warm."""

    def __init__(self, seed, noise):
        self.random, self.noise = random.Random(seed), noise
        self.last = self.warm = None
        self.batches = 0


class Side:
    """A side whose batch takes 10 ms, times what `effect(side)` says, times noise."""

    def __init__(self, world, name, effect):
        self.world, self.name, self.effect = world, name, effect

    def call(self):
        self.world.last = self.world.warm = self

    def batch(self, _iterations):
        world = self.world
        seconds = 0.01 * self.effect(self) * world.random.lognormvariate(0, world.noise)
        world.last, world.warm = self, None
        world.batches += 1
        return Batch(seconds, seconds, None)


def alike(_side):
    return 1.0


def slower(factor):
    return lambda _side: factor


def slow_calls(share, factor):
    return lambda side: factor if side.world.random.random() < share else 1.0


def after_the_candidate(side):
    return 1.1 if side.world.last is not None and side.world.last.name == "candidate" else 1.0


def first_of_a_pair(factor):
    """13 % slower with cold caches, which the first of a pair has unless its side was called just before."""

    def effect(side):
        cold = side.world.batches % 2 == 0 and side.world.warm is not side
        return factor * (1.13 if cold else 1.0)

    return effect


def run(monkeypatch, reference, candidate, seed, noise):
    monkeypatch.setattr(duel, "batch_size", lambda *_: (1, ""))
    world = World(seed, noise)
    return duel.run_duel(
        "simulated",
        Side(world, "reference", reference),
        Side(world, "candidate", candidate),
        list(QUESTIONS.values()),
        alpha=0.001 / 20,
        budget=20.0,
        seed=seed,
        decided=revision_decided,
    )


@pytest.mark.parametrize("noise", [0.01, 0.05])
@pytest.mark.parametrize(
    ("reference", "candidate", "discards"),
    [
        pytest.param(alike, slow_calls(0.2, 5.0), False, id="one call in five takes five times as long"),
        pytest.param(alike, slow_calls(0.4, 10.0), False, id="two calls in five take ten times as long"),
        pytest.param(alike, slow_calls(0.1, 2.0), False, id="one call in ten takes twice as long"),
        pytest.param(after_the_candidate, after_the_candidate, True, id="10 % slower for whatever runs next"),
        pytest.param(first_of_a_pair(1.0), first_of_a_pair(1.03), True, id="3 %, the first of a pair 13 % slower"),
    ],
)
def test_what_counting_pairs_cannot_see_is_slower(monkeypatch, reference, candidate, discards, noise):
    duels = [run(monkeypatch, reference, candidate, seed, noise) for seed in range(8)]
    verdicts = Counter(map(revision_verdict, duels))
    assert verdicts["slower"] >= 7, verdicts  # the carry-over is seen late in one of forty
    assert Counter(each.discards for each in duels).most_common(1)[0][0] is discards


@pytest.mark.parametrize("side", [alike, slow_calls(0.02, 5.0), first_of_a_pair(1.0)])
def test_the_same_is_the_same(monkeypatch, side):
    for seed in range(8):
        found = run(monkeypatch, side, side, seed, 0.01)
        assert revision_verdict(found) == "same"
        assert slow_calls_open(found) in (None, found.slow_calls)
        assert found.slow_calls <= 1.2 * SLOW_CALLS


def test_the_effects_of_the_order_are_data(monkeypatch):
    found = run(monkeypatch, first_of_a_pair(1.0), first_of_a_pair(1.0), 1, 0.001)
    assert found.position == pytest.approx(0.13, abs=0.01)
    assert found.carry_over == pytest.approx(0, abs=0.01)
    found = run(monkeypatch, after_the_candidate, after_the_candidate, 1, 0.001)
    assert found.position == pytest.approx(0, abs=0.06)
    assert found.carry_over == pytest.approx(0.1, abs=0.01)
    assert not run(monkeypatch, alike, alike, 1, 0.001).discards


def test_slow_calls_of_slow_work_stay_open_and_are_reported():
    score = Score([QUESTIONS["revision"], QUESTIONS["blind"], QUESTIONS["faster"], QUESTIONS["tail"]], 0.001)
    while not score.done:
        score.add(Batch(3.0, 3.0, None), Batch(3.0, 3.0, None))
    assert isinstance(QUESTIONS["tail"], TailQuestion)
    assert score.answers["tail"].verdict == "open"
    assert score.pairs < 20
    assert SLOW_CALLS < score.slow_calls < 1


def test_a_duel_goes_on_while_more_slow_calls_are_nearly_proven():
    score = Score(list(QUESTIONS.values()), 0.001, revision_decided)
    while not score.done:
        slow = score.pairs % 5 == 4
        score.add(Batch(3.0, 3.0, None), Batch(9.9 if slow else 3.0, 3.0, None))
    assert {name: answer.verdict for name, answer in score.answers.items()} == {
        "revision": "above",
        "blind": "above",
        "faster": "open",
        "tail": "below",
        "cpu": "above",
    }


def test_slow_calls_cost_alpha_as_another_clock_does():
    asked = list(QUESTIONS.values())
    assert alpha_of_a_bet(asked, 0.6) == pytest.approx(0.1)
    assert alpha_of_a_bet([each for each in asked if each.name != "tail"], 0.6) == pytest.approx(0.15)
    assert alpha_of_a_bet([each for each in asked if each.clock == "wall"], 0.6) == pytest.approx(0.15)
