"""Bets against a fair coin, and intervals for a median, without assumptions about the shape of the noise.

A pair of measurements is a coin toss. If both sides take the same time in distribution, only the order within the pair
decides which one is slower, and a coin decided the order. The claim "this side is slower" is therefore a bet against a
fair coin. By Ville's inequality such a bet ever reaches 1/alpha times its stake with probability at most alpha, however
often one looks (J. Ville, 1939; V. Vovk and R. Wang, "E-values: Calibration, combination, and applications", Annals of
Statistics, 2021). The bet spreads its stake evenly over all p in (1/2, 1], the truncated form of H. Robbins' (1970)
beta-binomial mixture.

A difference of two shares is no coin: a pair says more, fewer, or neither. The bet on it is that of I. Waudby-Smith and
A. Ramdas, "Estimating means of bounded random variables by betting" (JRSS B, 2024).
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import bdtr, betainc, betaln, xlog1py

STAKES = np.arange(1, 9) / 8  # shares of the wealth that the bet on a difference stakes, an eighth of it on each


def log_evalue(wins: int, pairs: int) -> float:
    """Return the natural logarithm of the wealth of a bet that won `wins` of `pairs` tosses.

    The e-value is 2^(n+1) * B(w+1, n-w+1) * P[Beta(w+1, n-w+1) > 1/2], which is 2^(n+1) times the integral of
    p^w (1-p)^(n-w) over (1/2, 1]. Computed in logarithms, it neither overflows nor underflows at a million pairs.

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


def log_mean(logarithms: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """Return the logarithm of the mean of numbers from their logarithms. The mean of e-values is an e-value."""
    top = max(logarithms)
    if top == -math.inf:
        return top
    shares = weights or [1 / len(logarithms)] * len(logarithms)
    return top + math.log(sum(share * math.exp(log - top) for share, log in zip(shares, logarithms, strict=True)))


def min_pairs(alpha: float) -> int:
    """Return the least number of pairs that can decide a bet: so many wins in a row reach 1/alpha.

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
    """Return the least number of wins in `pairs` that reaches 1/alpha, or None if even `pairs` wins do not."""
    if log_evalue(pairs, pairs) < -math.log(alpha):
        return None
    low, high = 0, pairs  # the e-value grows with the wins, so bisection finds the least
    while low < high:
        middle = (low + high) // 2
        if log_evalue(middle, pairs) < -math.log(alpha):
            low = middle + 1
        else:
            high = middle
    return high


def confidence_sequence(ratios: Sequence[float], alpha: float) -> tuple[float, float]:
    """Return limits for the median of `ratios`, each with error `alpha`, that hold however often one looks.

    They invert the bets: every value outside is one that a bet won against. They are wider than `median_interval`,
    which holds for one look only. Returns (0, inf) if there are too few pairs to prove anything.
    """
    needed = wins_needed(len(ratios), alpha) if ratios else None
    if needed is None:
        return 0.0, math.inf
    ordered = sorted(ratios)
    return ordered[len(ordered) - needed], ordered[needed - 1]


def log_evalue_of_difference(more: int, fewer: int, pairs: int, share: float) -> float:
    """Return the logarithm of the wealth of a bet that an event is less than `share` more frequent on one side.

    In each pair the event happens on both sides or on neither (d = 0), on that side alone (d = 1, `more` times) or on
    the other alone (d = -1, `fewer` times). Against "the mean of d is at least `share`", whatever the past, the wealth
    is multiplied by 1 + stake * (share - d) / (1 - share) with each pair: its expectation does not grow.
    """
    odds = STAKES / (1 - share)
    wealth = xlog1py(more, -STAKES) + xlog1py(fewer, odds * (share + 1)) + xlog1py(pairs - more - fewer, odds * share)
    return log_mean([float(log) for log in wealth])


def log_evalue_of_share(successes: float, trials: int, share: float) -> float:
    """Return the logarithm of the wealth of a bet that an event is more frequent than `share`.

    It spreads its stake evenly over all p in (share, 1], so that after s successes and f failures the e-value is the
    integral of p^s (1-p)^f over them, divided by 1 - share and by share^s (1-share)^f. Where that is less than the
    smallest float it is 0. Each trial may also be a part of a success, from 0 to 1: the wealth is convex in it.

    Raises:
        ValueError: unless 0 <= successes <= trials and 0 < share < 1.
    """
    failures = trials - successes
    if successes < 0 or failures < 0 or not 0 < share < 1:
        raise ValueError(f"{successes} successes in {trials} trials, with a share of {share}")
    above = float(betainc(failures + 1, successes + 1, 1 - share))
    if above == 0:
        return -math.inf
    integral = float(betaln(successes + 1, failures + 1)) + math.log(above)
    return integral - successes * math.log(share) - (failures + 1) * math.log1p(-share)


def difference_ruled_out(more: int, fewer: int, pairs: int, alpha: float) -> float:
    """Return the least share, to 0.1 %, that the bet on a difference rules out with error `alpha`; 1 for none."""
    low, high = 0, 1000  # per mille; the wealth grows with the share, so bisection finds the least
    while low < high:
        middle = (low + high) // 2
        if log_evalue_of_difference(more, fewer, pairs, min(middle / 1000, 1 - 1e-9)) < -math.log(alpha):
            low = middle + 1
        else:
            high = middle
    return low / 1000


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Return (low, high, coverage) for the median of `values`, from order statistics and the binomial distribution.

    The interval runs from the k-th smallest to the k-th largest value, with the greatest k whose coverage is at least
    `confidence`. With too few values it runs from the least to the greatest, and `coverage` is their true one,
    1 - 2^(1-n). It assumes independent values and a fixed number of them, so it describes and decides nothing.

    Raises:
        ValueError: for no values.
    """
    if not values:
        raise ValueError("no values, no median")
    count, ordered = len(values), sorted(values)
    outside = 2 * bdtr(np.arange(max(count // 2, 1)), count, 0.5)  # element k-1: both tails beyond the k-th values
    k = max(int(np.searchsorted(outside, 1 - confidence, side="right")), 1)
    return ordered[k - 1], ordered[count - k], max(0.0, 1.0 - float(outside[k - 1]))
