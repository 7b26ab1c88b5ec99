"""What can be drawn of a duel is what its verdict rests on."""

import random

import pytest

from benchmarks.gate.judge.rules import revision_questions
from benchmarks.gate.measure.bets import Question
from benchmarks.gate.measure.duel import Duel, recall
from benchmarks.gate.measure.evidence import Part, Times
from benchmarks.gate.measure.trace import MOST_BINS, MOST_CHECKPOINTS, checkpoints, histogram, trace


def part(pairs, *, ratio=1.2, anew=0, seed=1, iterations=2):
    """Return pairs whose reference takes `ratio` times as long, with some noise."""
    draw = random.Random(seed)
    times = []
    for _ in range(pairs):
        reference, candidate = ratio * draw.uniform(0.9, 1.1), draw.uniform(0.9, 1.1)
        times.append(Times(reference, reference / 2, candidate, candidate / 2))
    return Part(seed=seed, iterations=iterations, seconds=1.0, pairs=times, anew=anew, discards=anew > 0)


def duel_of(*parts, questions=None):
    return recall("toy", questions or [Question("floor", 1.1, 1.1)], parts, alpha=0.001)


@pytest.mark.parametrize(
    "questions", [[], [Question("floor", 1.1, 1.1)], revision_questions(0.03, 0.1)], ids=["none", "floor", "revision"]
)
@pytest.mark.parametrize("parts", [[part(7)], [part(200)], [part(90), part(90, seed=2)], [part(80, anew=30)]])
def test_the_last_checkpoint_is_the_duels_answer(parts, questions):
    duel = duel_of(*parts, questions=questions)
    found = trace(duel)
    assert found["evidence"]["pairs"][-1] == duel.pairs == sum(found["histogram"]["counts"])
    assert dict(map(tuple, found["quantiles"]))[50] == pytest.approx(duel.ratio, rel=1e-4)
    assert set(found["evidence"]["questions"]) == set(duel.answers)
    for name, answer in duel.answers.items():
        bets = found["evidence"]["questions"][name]
        assert len(bets["above"]) == len(bets["below"]) == len(found["evidence"]["pairs"])
        assert bets["above"][-1] == pytest.approx(answer.log_e_above, rel=1e-4)
        assert bets["below"][-1] == pytest.approx(answer.log_e_below, rel=1e-4)
        won = max(bets["above"][-1], bets["below"][-1]) >= found["evidence"]["log_threshold"] * (1 - 1e-4)
        assert won == (answer.verdict != "open")


def test_pairs_before_calls_were_discarded_do_not_count():
    assert trace(duel_of(part(80, anew=30)))["evidence"]["pairs"][-1] == 50


def test_a_saved_duel_has_no_trace():
    duel = duel_of(part(20))
    assert trace(Duel.from_dict(duel.to_dict())) is None
    assert trace(Duel.unmeasured("toy")) is None


@pytest.mark.parametrize("pairs", [1, 2, 59, 60, 61, 1_000, 12_345])
def test_checkpoints_are_few_and_reach_the_end(pairs):
    found = checkpoints(pairs)
    assert found == sorted(set(found))
    assert found[-1] == pairs
    assert len(found) == min(pairs, MOST_CHECKPOINTS)


@pytest.mark.parametrize(
    "ratios",
    [
        [1.0],
        [2.0, 2.0, 2.0],
        [1.0, 1.0, 1.0, 1.0, 9.0],
        [1e-6, 1.0, 1.0000001, 1.0000002, 1e6],
        [random.Random(1).lognormvariate(0, 0.01) for _ in range(5_000)],
        [random.Random(1).lognormvariate(3, 2) for _ in range(300)],
    ],
)
def test_every_ratio_is_in_one_bin(ratios):
    found = histogram(ratios)
    assert sum(found["counts"]) == len(ratios)
    assert len(found["edges"]) == len(found["counts"]) + 1 <= MOST_BINS + 1
    assert found["edges"] == sorted(found["edges"])
    assert found["edges"][0] == pytest.approx(min(ratios), rel=1e-4)
    assert found["edges"][-1] == pytest.approx(max(ratios), rel=1e-4)
