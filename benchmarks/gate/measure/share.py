"""Proves how often something holds, by two bets: that it is more often than a given share, and less often.

An outcome is true or false, or itself a share: of the requests of one window, say, that were answered in time. A number
between 0 and 1 makes each bet's wealth grow at most as a coin with that mean does, because the wealth is a convex
function of it.
"""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from .evalue import log_evalue_of_share

__all__ = ["Share", "prove_share"]


@dataclass(frozen=True)
class Share:
    """What was drawn, and which bet was won.

    Attributes:
        successes, trials: How often it held, or the sum of the shares, and of how many.
        least: The share that the bets are about.
        verdict: "above" or "below" it; "open" if neither is proven.
    """

    successes: float
    trials: int
    least: float
    verdict: Literal["above", "below", "open"]

    @property
    def value(self) -> float:
        """Return the share that was observed; NaN without trials."""
        return self.successes / self.trials if self.trials else math.nan


def prove_share(outcomes: Iterable[float], *, least: float, alpha: float, budget: float) -> Share:
    """Draw outcomes until a bet is won, they end, or `budget` seconds are over.

    The outcomes are independent, or at least each has the same mean given those before. The probability that a bet is
    won that is wrong is at most `alpha`, whenever one looks: half of it for each bet.

    Raises:
        ValueError: An outcome is less than 0 or more than 1.
    """
    successes, trials, threshold, start = 0.0, 0, -math.log(alpha / 2), time.perf_counter()
    for outcome in outcomes:
        if not 0 <= outcome <= 1:
            raise ValueError(f"an outcome is true, false or a share, not {outcome!r:.50}")
        trials += 1
        successes += outcome
        if log_evalue_of_share(successes, trials, least) >= threshold:
            return Share(successes, trials, least, "above")
        if log_evalue_of_share(trials - successes, trials, 1 - least) >= threshold:
            return Share(successes, trials, least, "below")
        if time.perf_counter() - start > budget:
            break
    return Share(successes, trials, least, "open")
