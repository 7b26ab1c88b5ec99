"""Slow calls: the bets on what a median cannot see, one call in ten that takes twice as long.

A batch is slow if it takes more than SLOW times the median of both sides' last batches. That median is of earlier pairs
only, so what is slow is known before a pair is measured. If the candidate's times are stochastically at most the
reference's, a pair in which one side alone is slow is a fair coin at best, whatever the noise: the coin decided the
order, and the limit is one for both.

A slow batch is a slow call only where a batch has one call. With n calls per batch, one call makes the batch slow if it
takes some n * (SLOW - 1) times as long as the others, and up to n times as many batches are slow as calls are; slow
calls that every batch has some of show in the median.
"""

import math
import statistics
from collections import deque
from dataclasses import dataclass, field

from .bets import Answer, Question
from .evalue import difference_ruled_out, log_evalue, log_evalue_of_difference, log_mean

SLOW = (1.15, 1.5, 3.0)  # times the running median
JUDGED = 1  # which of SLOW the bet against a larger share is about: what is less slow costs less than the tolerance
WINDOW = 32  # batches whose median is taken: 16 pairs, few enough to follow drift


@dataclass(frozen=True)
class TailQuestion(Question):
    """Two bets on slow calls, by wall time.

    `below` bets that the candidate has more of them, after its times are multiplied by the ratio `below`. `above` bets
    that it has less than `share` more.

    Attributes:
        share: of all calls.
    """

    share: float = 0.1

    def answer(self) -> "TailAnswer":
        """Return the state of the bets before the first pair."""
        return TailAnswer(self)


@dataclass
class TailAnswer(Answer):
    """The state of the two bets on slow calls. The wins and scores of the base class are not used.

    Attributes:
        more: pairs in which only the candidate's batch was slow, for each of SLOW.
        fewer: pairs in which only the reference's was.
    """

    more: list[int] = field(default_factory=lambda: [0] * len(SLOW))
    fewer: list[int] = field(default_factory=lambda: [0] * len(SLOW))

    def look_at(self, reference: float, candidate: float, alpha: float) -> None:
        """Add a pair of times, each divided by the median of earlier ones. The first bet to reach 1/alpha answers.

        The bet `below` is the mean of three, one for each of SLOW: a mean of e-values is one.
        """
        if self.verdict != "open" or not isinstance(self.question, TailQuestion):
            return
        self.pairs += 1
        scaled = candidate * self.question.below
        for i, limit in enumerate(SLOW):
            self.more[i] += scaled > limit >= reference
            self.fewer[i] += reference > limit >= scaled
        wealth = [log_evalue(more, more + fewer) for more, fewer in zip(self.more, self.fewer, strict=True)]
        self.log_e_below = log_mean(wealth)
        judged = self.more[JUDGED], self.fewer[JUDGED], self.pairs
        self.log_e_above = log_evalue_of_difference(*judged, self.question.share)
        if max(self.log_e_above, self.log_e_below) >= -math.log(alpha):
            self.verdict = "above" if self.log_e_above >= self.log_e_below else "below"

    def ruled_out(self, alpha: float) -> float:
        """Return the least share of additional slow calls that the pairs rule out with error `alpha`."""
        return difference_ruled_out(self.more[JUDGED], self.fewer[JUDGED], self.pairs, alpha)


class RunningMedian:
    """The median of the last WINDOW batches, of both sides."""

    def __init__(self) -> None:
        """Begin without any."""
        self._times: deque[float] = deque(maxlen=WINDOW)

    def before(self, *times: float) -> float | None:
        """Return the median without these times, None if there are no others, and add them."""
        median = statistics.median(self._times) if self._times else None
        self._times.extend(times)
        return median
