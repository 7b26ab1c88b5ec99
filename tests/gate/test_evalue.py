"""The bets are what they claim: exact, never out of range, and wrong no more often than alpha."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.gate.measure.bets import Answer, Question
from benchmarks.gate.measure.evalue import (
    confidence_sequence,
    difference_ruled_out,
    log_evalue,
    log_evalue_of_difference,
    log_evalue_of_share,
    log_mean,
    median_interval,
    min_pairs,
    wins_needed,
)


def exact(wins, pairs):
    """2^(n+1) times the integral of p^w (1-p)^l over (1/2, 1], by expanding (1-p)^l."""
    losses = pairs - wins
    terms = (
        Fraction((-1) ** k * math.comb(losses, k), wins + k + 1) * (1 - Fraction(1, 2 ** (wins + k + 1)))
        for k in range(losses + 1)
    )
    return 2 ** (pairs + 1) * sum(terms)


@pytest.mark.parametrize("pairs", [0, 1, 2, 3, 8, 21, 40])
def test_equals_the_exact_integral(pairs):
    for wins in range(pairs + 1):
        assert math.exp(log_evalue(wins, pairs)) == pytest.approx(float(exact(wins, pairs)), rel=1e-11)


@settings(deadline=None)  # a busy machine may be slow
@given(st.data())
def test_a_fair_coin_leaves_the_expected_wealth_as_it_is(data):
    # With e(0, 0) = 1 this makes it a martingale, all that Ville's inequality asks for; at a million pairs too.
    pairs = data.draw(st.integers(0, 1_000_000))
    wins = data.draw(st.integers(0, pairs) | st.integers(pairs // 2, min(pairs, pairs // 2 + 9)))
    after = np.logaddexp(log_evalue(wins + 1, pairs + 1), log_evalue(wins, pairs + 1)) - math.log(2)
    assert log_evalue(wins, pairs) == pytest.approx(after, rel=1e-12, abs=1e-7)


@pytest.mark.parametrize("pairs", [10**6, 10**6 + 1])
def test_stays_finite_at_a_million_pairs(pairs):
    for wins in (0, 1, pairs // 4, pairs // 2 - 1, pairs // 2, pairs // 2 + 1, pairs - 1, pairs):
        assert math.isfinite(log_evalue(wins, pairs))
    assert log_evalue(0, pairs) == pytest.approx(-math.log(pairs + 1))
    assert log_evalue(pairs, pairs) == pytest.approx((pairs + 1) * math.log(2) - math.log(pairs + 1))


@pytest.mark.parametrize(("wins", "pairs"), [(-1, 3), (4, 3), (1, 0)])
def test_impossible_counts_are_refused(wins, pairs):
    with pytest.raises(ValueError, match="wins in"):
        log_evalue(wins, pairs)


def test_min_pairs_are_the_fewest_that_decide():
    for alpha in (0.05, 0.001, 1e-5, 1e-9):
        least = min_pairs(alpha)
        assert exact(least, least) >= 1 / alpha
        assert exact(least - 1, least - 1) < 1 / alpha
        assert wins_needed(least, alpha) == least
        assert wins_needed(least - 1, alpha) is None


@pytest.mark.parametrize("alpha", [0, 1, -1, math.nan])
def test_alpha_is_a_probability(alpha):
    with pytest.raises(ValueError, match="alpha"):
        min_pairs(alpha)


def false_alarms(bounds, duels=100_000, seed=20_240_229):
    """The share of simulated fair-coin duels that at any pair had as many wins as `bounds` says suffice."""
    generator, alarms = np.random.default_rng(seed), 0
    for _ in range(10):
        coins = generator.integers(0, 2, (duels // 10, len(bounds)), dtype=np.int8)
        alarms += int((np.cumsum(coins, axis=1, dtype=np.int16) >= bounds).any(axis=1).sum())
    return alarms / duels


NEVER = 30_000  # more wins than there are pairs


def test_false_alarms_stay_below_alpha_however_often_one_looks():
    alpha, pairs = 0.01, 400
    bounds = np.array([wins_needed(n, alpha) or NEVER for n in range(1, pairs + 1)], dtype=np.int16)
    share = false_alarms(bounds)
    margin = 4 * math.sqrt(alpha * (1 - alpha) / 100_000)
    assert share <= alpha + margin
    assert share >= alpha / 10, "so conservative that it could hardly detect anything"


def test_the_simulation_catches_a_test_that_must_not_be_looked_at_twice():
    # The ordinary binomial test is right at any one number of pairs, and wrong if it may stop at the first that suits.
    alpha, pairs = 0.01, 400
    bounds = []
    for n in range(1, pairs + 1):
        upper = np.cumsum([math.comb(n, w) / 2**n for w in range(n, -1, -1)])
        enough = np.flatnonzero(upper <= alpha)
        bounds.append(n - int(enough[-1]) if len(enough) else NEVER)
    assert false_alarms(np.array(bounds, dtype=np.int16)) > 2 * alpha


def test_bounds_are_the_limits_that_bets_would_have_won_against():
    ratios = list(np.random.default_rng(1).lognormal(0, 0.1, 60))
    alpha = 0.001
    low, high = confidence_sequence(ratios, alpha)
    assert low < np.median(ratios) < high

    def won(limit, sign):
        return log_evalue(sum(sign * r > sign * limit for r in ratios), len(ratios)) >= -math.log(alpha)

    assert won(low * (1 - 1e-9), 1)
    assert not won(low, 1)
    assert won(high * (1 + 1e-9), -1)
    assert not won(high, -1)


def test_too_few_pairs_prove_nothing():
    assert confidence_sequence([], 0.001) == (0.0, math.inf)
    assert confidence_sequence([2.0] * 12, 0.001) == (0.0, math.inf)


@pytest.mark.parametrize(
    ("count", "k", "coverage"),
    # The usual table of distribution-free intervals for a median, at least 95 % from six values on.
    [
        (1, 1, 0.0),
        (2, 1, 0.5),
        (5, 1, 0.9375),
        (6, 1, 0.96875),
        (10, 2, 0.978516),
        (20, 6, 0.958611),
        (50, 18, 0.967160),
    ],
)
def test_median_interval_is_the_tabled_one_and_its_coverage_honest(count, k, coverage):
    values = list(range(1, count + 1))
    assert median_interval(values[::-1]) == (k, count + 1 - k, pytest.approx(coverage, abs=1e-6))


def test_median_interval_of_a_large_sample():
    low, high, coverage = median_interval(range(1_000_001))
    assert 0.95 <= coverage < 0.951
    assert 500_000 - low == high - 500_000 == pytest.approx(980, abs=2)


def test_median_interval_needs_values():
    with pytest.raises(ValueError, match="no values"):
        median_interval([])


def test_every_sign_pattern_of_a_small_sample_confirms_the_coverage():
    count, (low, high, coverage) = 7, median_interval(range(7))
    # The median is above exactly `below` of the values, each side of it with probability 1/2.
    inside = sum(low < sum(sides) <= high for sides in product((0, 1), repeat=count))
    assert inside / 2**count == pytest.approx(coverage)


RATIOS = st.lists(st.floats(0.7, 1.4), max_size=60) | st.lists(st.sampled_from([0.9, 0.98, 1.02, 1.1]), max_size=60)


@settings(deadline=None)
@given(RATIOS, st.floats(0.8, 1.25), st.floats(1.001, 1.1), st.booleans(), st.sampled_from([0.0, 0.01, math.inf]))
def test_nested_bets_are_nested(ratios, low, room, scores, deviation):
    # Whenever "above 1.01" is proven, "above 0.97" is, at that pair or earlier; "below" likewise, with scores as well.
    high = low * room
    above = [Answer(Question(str(limit), above=limit, below=0)) for limit in (low, high)]
    below = [Answer(Question(str(limit), above=1e9, below=limit, scores=scores)) for limit in (high, low)]
    for pairs, ratio in enumerate(ratios, 1):
        for easy, hard in (above, below):
            easy.look(ratio, pairs, 0.2, deviation)
            hard.look(ratio, pairs, 0.2, deviation)
            assert hard.verdict in ("open", easy.verdict)
        if above[0].verdict == below[0].verdict == "open":
            assert above[0].log_e_above >= above[1].log_e_above
            assert below[0].log_e_below >= below[1].log_e_below - 1e-9


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.sampled_from([0.01, 0.1, 0.5]))
def test_the_bet_on_a_difference_is_a_martingale_at_its_limit(more, fewer, neither, share):
    # P(d = 1) = share and P(d = 0) = 1 - share have the mean `share`; so has any other mixture.
    def wealth(more, fewer, pairs):
        return math.exp(log_evalue_of_difference(more, fewer, pairs, share))

    pairs = more + fewer + neither
    for losing in (0.0, 0.2 * (1 - share)):
        winning = share + losing
        after = (
            winning * wealth(more + 1, fewer, pairs + 1)
            + losing * wealth(more, fewer + 1, pairs + 1)
            + (1 - winning - losing) * wealth(more, fewer, pairs + 1)
        )
        assert wealth(more, fewer, pairs) == pytest.approx(after, rel=1e-9)


def test_a_difference_of_ten_per_cent_is_ruled_out_after_129_pairs():
    alpha = 0.001 / 20 / 6
    assert difference_ruled_out(0, 0, 129, alpha) == 0.1
    assert difference_ruled_out(0, 0, 128, alpha) > 0.1
    assert difference_ruled_out(0, 0, 5, alpha) == pytest.approx(0.89, abs=0.05)
    assert difference_ruled_out(0, 0, 0, alpha) == 1.0
    assert difference_ruled_out(20, 0, 129, alpha) > 20 / 129
    assert difference_ruled_out(0, 20, 129, alpha) < 0.1


def test_a_mean_of_logarithms_stays_finite():
    assert log_mean([1000.0, 1000.0]) == pytest.approx(1000)
    assert log_mean([-math.inf, 0.0]) == pytest.approx(-math.log(2))
    assert log_mean([-math.inf]) == -math.inf
    assert log_mean([0.0, 5.0], [1.0, 0.0]) == pytest.approx(0)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_share_equals_the_integral(share):
    p = np.linspace(share, 1, 200_001)
    for trials in (0, 1, 5, 40):
        for successes in range(trials + 1):
            likelihood = p**successes * (1 - p) ** (trials - successes)
            expected = (
                np.trapezoid(likelihood, p) / (1 - share) / (share**successes * (1 - share) ** (trials - successes))
            )
            assert math.exp(log_evalue_of_share(successes, trials, share)) == pytest.approx(expected, rel=1e-6)


@settings(deadline=None)
@given(st.integers(0, 100_000), st.integers(0, 30), st.sampled_from([0.01, 0.3, 0.9, 0.99]))
def test_a_share_leaves_the_expected_wealth_as_it_is(trials, failures, share):
    """If the event is as frequent as the share that is bet against. At a share of 1/2 it is the bet on a fair coin."""
    successes = max(0, trials - failures)
    now = log_evalue_of_share(successes, trials, share)
    after = np.logaddexp(
        math.log(share) + log_evalue_of_share(successes + 1, trials + 1, share),
        math.log1p(-share) + log_evalue_of_share(successes, trials + 1, share),
    )
    assert now == pytest.approx(after, rel=1e-8, abs=1e-6)
    assert log_evalue_of_share(successes, trials, 0.5) == pytest.approx(
        log_evalue(successes, trials), rel=1e-8, abs=1e-6
    )


def test_a_share_that_is_far_from_true_leaves_nothing():
    assert log_evalue_of_share(0, 10**6, 0.99) == -math.inf


@pytest.mark.parametrize(("successes", "trials", "share"), [(-1, 3, 0.5), (4, 3, 0.5), (1, 2, 0.0), (1, 2, 1.0)])
def test_impossible_shares_are_refused(successes, trials, share):
    with pytest.raises(ValueError, match="in"):
        log_evalue_of_share(successes, trials, share)
