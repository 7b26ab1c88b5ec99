"""The questions that a duel answers by betting, and the state of their bets."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .evalue import log_evalue

Clock: TypeAlias = Literal["wall", "cpu"]


@dataclass(frozen=True)
class Question:
    """Two bets on the ratio of a pair: that it is greater than `above`, and that it is less than `below`.

    Attributes:
        name: of the question.
        above: a ratio.
        below: a ratio; with 0 there is no such bet.
        needed: whether a duel goes on until the question is answered. If not, it is answered if the pairs of the other
            questions suffice, and extends a duel, to twice those pairs at most, only while its bet on `above` is ahead:
            the answer is then near.
        clock: whose ratio it is about: wall time's, or CPU time's.
    """

    name: str
    above: float
    below: float
    needed: bool = True
    clock: Clock = "wall"


@dataclass
class Answer:
    """The state of the two bets of one question after `pairs`: wins, log e-values; "open" until one bet is won."""

    question: Question
    pairs: int = 0
    wins_above: int = 0
    wins_below: int = 0
    log_e_above: float = 0.0
    log_e_below: float = 0.0
    verdict: Literal["above", "below", "open"] = "open"

    def look(self, ratio: float, pairs: int, alpha: float) -> None:
        """Add the ratio of pair number `pairs`. The first bet to reach 1/alpha answers the question for good.

        A ratio that is not a number, of a clock that this system lacks, wins neither bet.
        """
        if self.verdict != "open":
            return
        self.pairs = pairs
        self.wins_above += ratio > self.question.above
        self.wins_below += ratio < self.question.below
        self.log_e_above = log_evalue(self.wins_above, pairs)
        self.log_e_below = log_evalue(self.wins_below, pairs)
        if max(self.log_e_above, self.log_e_below) >= -math.log(alpha):
            self.verdict = "above" if self.log_e_above >= self.log_e_below else "below"


def alpha_of_a_bet(questions: Sequence[Question], alpha: float) -> float:
    """Return the error that each bet of a duel may have, so that the duel's is at most `alpha`.

    The bets on one clock and in one direction are nested: whoever wins a bet on "above 1.01" has won as many tosses of
    the bet on "above 0.97". If any of those that are wrong is ever won, then so is the one nearest to the true median,
    so all of them together have the error of one. That leaves two directions for each clock.
    """
    clocks = {question.clock for question in questions} or {"wall"}
    return alpha / (2 * len(clocks))
