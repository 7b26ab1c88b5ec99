"""Repeat a duel in fresh processes before a slowdown is reported.

A process keeps one memory layout for its lifetime, and the layout alone can make one of two equal sides some per cent
slower. Each fresh pair of processes draws it anew, so the evidence of several pairs is added up: e-values multiply.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..measure.duel import Duel

FRESH_PAIRS = 2


@dataclass(frozen=True)
class Confirmation:
    """What the fresh pairs of processes say.

    Attributes:
        duels: one for each pair.
        question: whose bet on "slower" they repeat.
        log_e: the sum of that bet's log e-values.
        needed: the least sum that confirms.
    """

    duels: tuple[Duel, ...]
    question: str
    log_e: float
    needed: float

    @property
    def agrees(self) -> bool:
        """Return whether the slowdown is confirmed."""
        return self.log_e >= self.needed


def confirmation(duels: Sequence[Duel], questions: Sequence[str], alpha: float) -> Confirmation:
    """Add up the evidence of the fresh pairs, for the question with the most of it.

    Args:
        duels: of the fresh pairs.
        questions: those of which "below" was proven at first.
        alpha: the error that each of their bets may have.
    """
    sums = {name: sum(duel.answers[name].log_e_below for duel in duels) for name in questions}
    question = max(sums, key=lambda name: sums[name])
    return Confirmation(tuple(duels), question, sums[question], -math.log(alpha))
