"""Bets against a fair coin, and intervals for a median: no assumption about noise, none about its shape.

A pair of measurements is a coin toss. If both sides take the same time in distribution, then which one is slower in a
pair is decided by nothing but the order they ran in, and a coin decided that. So whoever claims "this side is slower"
can be made to bet on each pair, and by Ville's inequality a bettor against a fair coin ever reaches 1/alpha times the
stake with probability at most alpha, however often one looks (J. Ville, 1939; V. Vovk and R. Wang, "E-values:
Calibration, combination, and applications", Annals of Statistics, 2021). The bet here spreads its stake evenly over all
p in (1/2, 1], the truncated form of H. Robbins' (1970) beta-binomial mixture.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import bdtr, betainc, betaln


def log_evalue(wins: int, pairs: int) -> float:
    """Return the natural logarithm of the wealth of a bet that won `wins` of `pairs` tosses.

    The e-value is 2^(n+1) * B(w+1, n-w+1) * P[Beta(w+1, n-w+1) > 1/2], which is 2^(n+1) times the integral of
    p^w (1-p)^(n-w) over (1/2, 1]. It is computed in logarithms and neither over- nor underflows, for a million pairs
    and more.

    Raises:
        ValueError: unless 0 <= wins <= pairs.
    """
    losses = pairs - wins
    if wins < 0 or losses < 0:
        raise ValueError(f"{wins} wins in {pairs} pairs")
    if wins > losses:
        # P[Beta(w+1, l+1) > 1/2] = P[Beta(l+1, w+1) < 1/2], here more than 1/2, so that its logarithm is harmless.
        tail = float(betainc(losses + 1, wins + 1, 0.5))
        return (pairs + 1) * math.log(2) + float(betaln(wins + 1, losses + 1)) + math.log(tail)
    # Here that probability would underflow. Integration by parts gives e(w, l) = (1 + w * e(w-1, l+1)) / (l+1), a sum
    # of positive terms that fall like exp(-2 k^2 / n): after 5 sqrt(n) of them nothing is left to add.
    k = np.arange(min(wins, 5 * math.isqrt(pairs) + 5))
    terms = np.cumprod((wins - k) / (losses + 2 + k))
    return math.log1p(float(terms.sum())) - math.log(losses + 1)


def straight_wins(alpha: float) -> int:
    """Return how many wins in a row make a bet reach 1/alpha, the least number of pairs that can decide anything.

    Raises:
        ValueError: unless 0 < alpha < 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is a probability between 0 and 1, not {alpha}")
    pairs = 1
    while log_evalue(pairs, pairs) < -math.log(alpha):
        pairs += 1
    return pairs


def wins_needed(pairs: int, alpha: float) -> int | None:
    """Return the least number of wins in `pairs` that reaches 1/alpha, or None where even `pairs` wins do not."""
    if log_evalue(pairs, pairs) < -math.log(alpha):
        return None
    low, high = 0, pairs  # the e-value grows with the wins, so the place can be bisected
    while low < high:
        middle = (low + high) // 2
        if log_evalue(middle, pairs) < -math.log(alpha):
            low = middle + 1
        else:
            high = middle
    return high


def told_bounds(ratios: Sequence[float], alpha: float) -> tuple[float, float]:
    """Return what `ratios` prove about their median: with error `alpha` a side, it lies between these two.

    These are the bets turned round: every limit that a bet would have won against. They hold however long one looked,
    which the plain interval of `median_interval` does not, and are wider for it; (0, inf) where there are too few pairs
    to prove anything.
    """
    needed = wins_needed(len(ratios), alpha) if ratios else None
    if needed is None:
        return 0.0, math.inf
    ordered = sorted(ratios)
    return ordered[len(ordered) - needed], ordered[needed - 1]


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Return (low, high, coverage) for the median of `values`, from order statistics and the binomial distribution.

    The interval runs from the k-th smallest to the k-th largest value, with the greatest k whose coverage is at least
    `confidence`. Where there are too few values for any, it is the least and the greatest, and `coverage` is what these
    really cover, 1 - 2^(1-n). It takes the values as independent and their number as fixed: it describes, and
    judges nothing.

    Raises:
        ValueError: for no values.
    """
    if not values:
        raise ValueError("no values, no median")
    count, ordered = len(values), sorted(values)
    outside = 2 * bdtr(np.arange(max(count // 2, 1)), count, 0.5)  # element k-1: both tails beyond the k-th values
    k = max(int(np.searchsorted(outside, 1 - confidence, side="right")), 1)
    return ordered[k - 1], ordered[count - k], max(0.0, 1.0 - float(outside[k - 1]))
