"""The questions that a duel answers by betting, and the state of their bets."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from .evalue import log_evalue, log_mean, min_pairs

Clock: TypeAlias = Literal["wall", "cpu"]

# With `Question.scores` a bet on `below` is two bets: 3/4 of the stake on signs, which no outlier can outweigh, and 1/4
# on scores, which count a large difference for more than a small one. METHODOLOGY.md has what this saves and costs.
SIGNS = 0.75
SCALES = 3.0  # a difference of so many median deviations, or more, has the score 1
STAKES = (0.999, 0.7, 0.5, 0.35, 0.2, 0.1, 0.05)  # shares of the wealth that the bet on scores stakes, alike


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
        scores: whether the bet on `below` is one on scores as well. What it proves is then that the candidate's times
            are greater, and no longer that their median is.
    """

    name: str
    above: float
    below: float
    needed: bool = True
    clock: Clock = "wall"
    scores: bool = False

    def answer(self) -> "Answer":
        """Return the state of the bets before the first pair."""
        return Answer(self)


@dataclass
class Answer:
    """The state of the two bets of one question after `pairs`: wins, log e-values; "open" until one bet is won.

    Attributes:
        log_scores: the logarithm of the wealth of the bets on scores, for each of STAKES.
        log_start_above, log_start_below: the logarithm of what each bet began with, at most 0; see `begin_anew`.
    """

    question: Question
    pairs: int = 0
    wins_above: int = 0
    wins_below: int = 0
    log_e_above: float = 0.0
    log_e_below: float = 0.0
    verdict: Literal["above", "below", "open"] = "open"
    log_scores: list[float] = field(default_factory=lambda: [0.0] * len(STAKES))
    log_start_above: float = 0.0
    log_start_below: float = 0.0

    def look(self, ratio: float, pairs: int, alpha: float, deviation: float = math.inf) -> None:
        """Add the ratio of pair number `pairs`. The first bet to reach 1/alpha answers the question for good.

        A ratio that is not a number, of a clock that this system lacks, wins neither bet. `deviation` is the median
        deviation of the logarithms of earlier ratios; without earlier ones it is infinite, and the scores are 0.
        """
        if self.verdict != "open":
            return
        self.pairs = pairs
        self.wins_above += ratio > self.question.above
        self.wins_below += ratio < self.question.below
        self.log_e_above = self.log_start_above + log_evalue(self.wins_above, pairs)
        self.log_e_below = log_evalue(self.wins_below, pairs)
        if self.question.scores:
            score = _score(ratio, self.question.below, deviation)
            self.log_scores = [
                log + math.log1p(stake * score) for log, stake in zip(self.log_scores, STAKES, strict=True)
            ]
            self.log_e_below = log_mean((self.log_e_below, log_mean(self.log_scores)), (SIGNS, 1 - SIGNS))
        self.log_e_below += self.log_start_below
        if max(self.log_e_above, self.log_e_below) >= -math.log(alpha):
            self.verdict = "above" if self.log_e_above >= self.log_e_below else "below"

    def begin_anew(self) -> "Answer":
        """Return the state of bets that begin after these pairs, with what these have left, or with 1 if it is more.

        To give wealth away costs no validity: before and after together, the probability that such a bet ever reaches
        1/alpha is at most alpha. So what was proven before may be given up, at any time, and has to be proven anew.
        """
        return Answer(
            self.question,
            log_start_above=min(0.0, self.log_e_above),
            log_start_below=min(0.0, self.log_e_below),
        )


def _score(ratio: float, below: float, deviation: float) -> float:
    """Return by how much a ratio is less than `below`, from -1 to 1, in SCALES times the deviation.

    It is an odd function of the logarithm of ratio / below, so its expectation is at most 0 if the two sides of a pair,
    in an order that a coin decides, are equally fast after the candidate's time is multiplied by `below`, or the
    candidate is faster still. The greater `below`, the greater the score: the bets are nested as those on signs are.
    """
    if not (below > 0 and math.isfinite(ratio) and math.isfinite(deviation)):
        return 0.0
    difference = math.log(below / ratio)
    if deviation == 0:
        return math.copysign(1.0, difference) if difference else 0.0
    return max(-1.0, min(1.0, difference / (SCALES * deviation)))


def least_pairs(questions: Sequence[Question], alpha: float) -> int:
    """Return a number of pairs that can win any bet of these questions: all of them won, by their signs alone."""
    return min_pairs(alpha * (SIGNS if any(question.scores for question in questions) else 1))


def alpha_of_a_bet(questions: Sequence[Question], alpha: float) -> float:
    """Return the error that each bet of a duel may have, so that the duel's is at most `alpha`.

    The bets on one clock and in one direction are nested: a pair that wins the bet on "above 1.01" also wins the bet
    on "above 0.97". If any of those that are wrong is ever won, then so is the one nearest to the true median,
    so all of them together have the error of one. That leaves two directions for each clock. The bets on slow calls
    are nested with none of these: they count as one more clock.
    """
    kinds = {(question.clock, type(question)) for question in questions} or {("wall", Question)}
    return alpha / (2 * len(kinds))
