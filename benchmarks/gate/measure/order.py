"""What the order of the batches does to their times, and whether that hides a slowdown.

The coin that decides who is first in a pair keeps such effects from favouring a side. It does not keep them from hiding
a slowdown: if the first of a pair is 13 % slower on either side, a candidate 3 % slower loses the pairs in which it is
first, wins the others, and the bets on signs see a fair coin.
"""

import math
import statistics
from collections.abc import Sequence

from .evalue import median_interval

CONFIDENCE = 0.9  # of an interval; an error here costs time, not a wrong verdict


class OrderEffects:
    """The ratios of pairs, by the order within the pair and by the side that ran last before it."""

    def __init__(self) -> None:
        """Begin without pairs."""
        self._logs: dict[tuple[bool, bool], list[float]] = {}
        self._reference_last: bool | None = None

    def add(self, reference: float, candidate: float, *, reference_first: bool) -> None:
        """Add the times of a pair; the first one only says what ran before the second."""
        if self._reference_last is not None:
            log = math.log(reference / candidate) * (1 if reference_first else -1)
            self._logs.setdefault((reference_first, self._reference_last), []).append(log)
        self._reference_last = not reference_first

    @property
    def position(self) -> float | None:
        """Return the share by which the first of a pair is slower, the sides apart; None if it is not known yet."""
        return self._effect([(0.5, self._ordered(first)) for first in (True, False)])[0]

    @property
    def carry_over(self) -> float | None:
        """Return the share by which a batch is slower after the candidate than after the reference, or None."""
        return self._effect(self._carried())[0]

    def hide(self, slowdown: float) -> bool:
        """Return whether one of the two effects exceeds that share, as far as the pairs show."""
        limit = math.log1p(slowdown)
        for groups in ([(0.5, self._ordered(first)) for first in (True, False)], self._carried()):
            _, low, high = self._effect(groups)
            if low > limit or high < -limit:
                return True
        return False

    def _ordered(self, reference_first: bool) -> list[float]:
        return [log for last in (True, False) for log in self._logs.get((reference_first, last), [])]

    def _carried(self) -> list[tuple[float, list[float]]]:
        return [
            (-0.5 if reference_last else 0.5, self._logs.get((reference_first, reference_last), []))
            for reference_first in (True, False)
            for reference_last in (True, False)
        ]

    @staticmethod
    def _effect(groups: Sequence[tuple[float, list[float]]]) -> tuple[float | None, float, float]:
        """Return the weighted sum of medians, as a share, with the logarithms of an interval."""
        if not all(logs for _, logs in groups):
            return None, -math.inf, math.inf
        effect = sum(weight * statistics.median(logs) for weight, logs in groups)
        low = high = 0.0
        for weight, logs in groups:
            ends = sorted(weight * end for end in median_interval(logs, CONFIDENCE)[:2])
            low, high = low + ends[0], high + ends[1]
        return math.expm1(effect), low, high
