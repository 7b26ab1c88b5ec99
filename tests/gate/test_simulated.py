"""The error rates of a whole verdict over simulated noise."""

import math
import random
from collections import Counter

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.special import bdtrc

from benchmarks.gate.judge.rules import (
    LEAST_SLOWDOWN,
    SLOW_CALLS,
    revision_questions,
)
from benchmarks.gate.measure import bets, tail
from benchmarks.gate.measure.bets import Answer, alpha_of_a_bet
from benchmarks.gate.measure.evalue import STAKES, log_evalue, log_evalue_of_difference
from benchmarks.gate.measure.score import Score
from benchmarks.gate.measure.timing import Batch

PAIRS = 64
DUELS = 100_000
CHUNK = 5_000
TOLERANCE = 0.03
QUESTIONS = {question.name: question for question in revision_questions(TOLERANCE, 0.1)}
SIGNS = np.array(
    [[math.exp(log_evalue(wins, n)) if wins <= n else math.nan for wins in range(PAIRS + 1)] for n in range(PAIRS + 1)]
)


def slots(generator, duels):
    """Seconds [duels, 2 * PAIRS], in the order of time, by the wall clock and by the CPU clock."""
    shape = duels, 2 * PAIRS
    common = lfilter([1], [1, -0.95], generator.normal(0, 0.01, shape))  # autocorrelated
    common += generator.normal(0, 0.002, (duels, 1)) * np.arange(2 * PAIRS)  # drifts, up or down
    common[:, ::2] += 0.03  # the first of a pair is slower
    bursts = 0.6 * (np.cumsum(generator.random(shape) < 0.02, axis=1) % 2)  # a neighbour comes and goes
    tails = 0.02 * np.abs(generator.standard_cauchy(shape))  # without a mean
    return np.exp(common + bursts) + tails, np.exp(common + generator.normal(0, 0.01, shape))


def simulated(generator, duels, slowdown, *, coin=True):
    """(reference, candidate), each [duels, PAIRS], by clock; the candidate is slower by that share."""
    first = generator.random((duels, PAIRS)) < 0.5 if coin else np.ones((duels, PAIRS), bool)
    return {
        clock: (
            np.where(first, times[:, ::2], times[:, 1::2]),
            np.where(first, times[:, 1::2], times[:, ::2]) * (1 + slowdown),
        )
        for clock, times in zip(("wall", "cpu"), slots(generator, duels), strict=True)
    }


def signs(won):
    """The wealth of the bet on signs [duels, PAIRS], of `won` in the same shape."""
    return SIGNS[np.arange(1, PAIRS + 1), np.cumsum(won, axis=1)]


def below(ratios, question):
    """The wealth of the bets that ratios are less than `question.below`: on signs, and on scores."""
    logs, deviation = np.log(ratios), np.full(ratios.shape, np.inf)
    for pairs in (4, 8, 16, 32):
        median = np.median(logs[:, :pairs], axis=1, keepdims=True)
        deviation[:, pairs:] = np.median(np.abs(logs[:, :pairs] - median), axis=1, keepdims=True)
    score = np.clip((math.log(question.below) - logs) / (bets.SCALES * deviation), -1, 1)
    scores = sum(np.cumprod(1 + stake * score, axis=1) for stake in bets.STAKES) / len(bets.STAKES)
    return bets.SIGNS * signs(ratios < question.below) + (1 - bets.SIGNS) * scores


def relative(reference, candidate):
    """The times of all pairs but the first, divided by the median of the batches of earlier ones."""
    both = np.stack([reference, candidate], axis=2).reshape(len(reference), -1)
    medians = np.empty((len(both), PAIRS - 1))
    for pairs in range(1, PAIRS):
        medians[:, pairs - 1] = np.median(both[:, max(0, 2 * pairs - tail.WINDOW) : 2 * pairs], axis=1)
    return reference[:, 1:] / medians, candidate[:, 1:] / medians


def more_slow_calls(reference, candidate):
    """The wealth of the bet on more slow calls [duels, PAIRS - 1]."""
    reference, candidate = relative(reference, candidate)
    wealth = 0.0
    for limit in tail.SLOW:
        slow_there, slow_here = reference > limit, candidate * QUESTIONS["tail"].below > limit
        alone = np.cumsum(slow_there != slow_here, axis=1)
        wealth = wealth + SIGNS[alone, np.cumsum(slow_here & ~slow_there, axis=1)] / len(tail.SLOW)
    return wealth


def bets_on_slower(times):
    """The wealth of every bet that proves a candidate slower."""
    ratios = {clock: reference / candidate for clock, (reference, candidate) in times.items()}
    return {
        "revision": below(ratios["wall"], QUESTIONS["revision"]),
        "cpu": below(ratios["cpu"], QUESTIONS["cpu"]),
        "tail": more_slow_calls(*times["wall"]),
    }


def proven(wealth, alpha):
    """Whether [duels] any of the bets ever has 1 / alpha, alpha being a duel's."""
    least = 1 / alpha_of_a_bet(list(QUESTIONS.values()), alpha)
    return np.any([(each >= least).any(axis=1) for each in wealth], axis=0)


def test_the_simulated_bets_are_the_duels_own():
    seen = Counter()
    for slowdown in (0.0, 0.05, 0.3):
        times = simulated(np.random.default_rng(7), 20, slowdown)
        wealth = bets_on_slower(times)
        for i in range(20):
            score = Score(list(QUESTIONS.values()), 0.01)
            for pair in range(PAIRS):
                there, here = (
                    Batch(times["wall"][side][i, pair], times["cpu"][side][i, pair], None) for side in (0, 1)
                )
                score.add(there, here)
            for name, answer in score.answers.items():
                if name in wealth:
                    expected = wealth[name][i, answer.pairs - 1]
                    assert answer.log_e_below == pytest.approx(math.log(expected), abs=1e-6)
                    seen[name, answer.verdict] += 1
    assert {name for name, verdict in seen if verdict == "below"} == {"revision", "cpu", "tail"}


def wrong(rate_of, alphas=(0.05, 0.01)):
    """Check that verdicts wrong in one direction, half of alpha, are few enough; `rate_of` counts those of a chunk."""
    generator, counts = np.random.default_rng(20_261_125), Counter()
    for _ in range(DUELS // CHUNK):
        counts.update(rate_of(generator, alphas))
    for alpha in alphas:
        assert alpha / 20 <= counts[alpha] / DUELS <= alpha / 2, f"{counts[alpha]} of {DUELS} at {alpha}"


def test_a_candidate_not_slower_is_called_slower_at_most_alpha_in_100_000_duels():
    # By exactly LEAST_SLOWDOWN, the hardest case. The bets run to the end, although others may end a real duel.
    def rate_of(generator, alphas):
        wealth = bets_on_slower(simulated(generator, CHUNK, LEAST_SLOWDOWN)).values()
        return {alpha: int(proven(wealth, alpha).sum()) for alpha in alphas}

    wrong(rate_of)


def test_a_slower_candidate_is_called_same_or_faster_at_most_alpha_in_100_000_duels():
    # By exactly the tolerance, on both clocks. Whoever proves "faster" proves "above" as well: the bets are nested.
    def rate_of(generator, alphas):
        times = simulated(generator, CHUNK, TOLERANCE)
        ratios = [reference / candidate for reference, candidate in times.values()]
        wealth = [signs(each > QUESTIONS["revision"].above) for each in ratios]
        return {alpha: int(proven(wealth, alpha).sum()) for alpha in alphas}

    wrong(rate_of)


def test_more_slow_calls_are_ruled_out_wrongly_at_most_alpha_in_100_000_duels():
    # Exactly the share that is to be ruled out more, beside 5 % that both sides have.
    def rate_of(generator, alphas):
        there, here = (generator.random((CHUNK, 2 * PAIRS)) < share for share in (0.05, 0.05 + SLOW_CALLS))
        difference = here.astype(float) - there
        steps = (SLOW_CALLS - difference) / (1 - SLOW_CALLS)
        wealth = sum(np.cumprod(1 + stake * steps, axis=1) for stake in STAKES) / len(STAKES)
        counts = int((difference[0] > 0).sum()), int((difference[0] < 0).sum()), 2 * PAIRS
        if wealth[0, -1] > 0:
            expected = log_evalue_of_difference(*counts, SLOW_CALLS)
            assert math.log(wealth[0, -1]) == pytest.approx(expected, abs=1e-6)
        return {alpha: int(proven([wealth], alpha).sum()) for alpha in alphas}

    wrong(rate_of)


def test_in_the_same_noise_slowdowns_are_detected():
    wealth = bets_on_slower(simulated(np.random.default_rng(1), 1_000, 0.1)).values()
    assert proven(wealth, 0.01).mean() > 0.95


def test_the_simulation_catches_an_order_without_a_coin():
    wealth = bets_on_slower(simulated(np.random.default_rng(2), 2_000, LEAST_SLOWDOWN, coin=False))
    assert proven(wealth.values(), 0.05).mean() < 0.05  # here the reference is always first, and slower for it
    times = simulated(np.random.default_rng(2), 2_000, -LEAST_SLOWDOWN, coin=False)
    swapped = {clock: (candidate, reference) for clock, (reference, candidate) in times.items()}
    assert proven(bets_on_slower(swapped).values(), 0.05).mean() > 2 * 0.05


def test_the_simulation_catches_a_p_value_that_is_looked_at_twice():
    n, alpha = np.arange(1, PAIRS + 1), alpha_of_a_bet(list(QUESTIONS.values()), 0.05)
    reference, candidate = simulated(np.random.default_rng(3), 2_000, LEAST_SLOWDOWN)["cpu"]
    wins = np.cumsum(reference / candidate < QUESTIONS["cpu"].below, axis=1)
    assert (bdtrc(wins - 1, n, 0.5) <= alpha).any(axis=1).mean() > 2 * alpha


def test_bets_that_begin_anew_are_wrong_at_most_alpha():
    # Somebody who may begin anew whenever a bet has lost, and gives up a bet that was won, gains nothing.
    coin, alpha, won, duels = random.Random(5), 0.1, 0, 1_000
    for _ in range(duels):
        answer = Answer(bets.Question("fair", 1.0, 0))
        for pair in range(1, 61):
            answer.look(coin.choice((0.9, 1.1)), (pair - 1) % 6 + 1, alpha)
            if answer.verdict == "above":
                won += 1
                break
            if pair % 6 == 0:
                answer = answer.begin_anew()
    assert won / duels <= alpha
    sure = Answer(bets.Question("sure", 0.5, 0), log_e_above=9.0, verdict="above").begin_anew()
    assert (sure.verdict, sure.log_start_above) == ("open", 0.0)
