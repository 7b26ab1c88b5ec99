"""What is kept of a duel so that it can be continued: the times of its pairs, in parts.

A bet may be continued at any time, whatever its state (an e-value stays one under optional continuation), so the pairs
of a later turn, or of another process on another machine, add to those before. Each part has batches of its own size
and a coin of its own; a ratio within a pair depends on neither.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from .score import Score
from .timing import Batch


class Times(NamedTuple):
    """The seconds of the two batches of one pair."""

    reference_wall: float
    reference_cpu: float
    candidate_wall: float
    candidate_cpu: float


@dataclass(frozen=True)
class Part:
    """The pairs that one turn of a duel measured.

    Attributes:
        seed: of the coin that decided the orders.
        iterations: calls per batch.
        seconds: that the pairs took, checks included.
        pairs: their times, in the order measured.
        anew: the number of pairs after which calls were discarded, and the bets began anew; 0 if that was from the
            first pair on, or never.
        discards: whether a call was discarded before each batch at the end.
        position, carry_over: the effects of the order, see `Duel`.
        note: a caveat about the numbers, or nothing.
    """

    seed: int
    iterations: int
    seconds: float
    pairs: Sequence[Times]
    anew: int = 0
    discards: bool = False
    position: float | None = None
    carry_over: float | None = None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the part in JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> "Part":
        """Read the output of `to_dict`.

        Raises:
            KeyError, TypeError, ValueError: The data is something else, or a time is not one.
        """
        pairs = [Times(*map(float, times)) for times in kept["pairs"]]
        part = cls(**{**kept, "pairs": pairs})
        if not (part.iterations >= 1 and 0 <= part.anew <= len(pairs)):
            raise ValueError(f"a part with {part.iterations} calls per batch, anew after {part.anew} pairs")
        for times in pairs:
            if not (all(map(math.isfinite, times)) and min(times.reference_wall, times.candidate_wall) > 0):
                raise ValueError(f"the seconds of a pair cannot be {tuple(times)}")
        return part


def replay(score: Score, parts: Sequence[Part]) -> None:
    """Add all pairs of these parts to a score, as they were added when they were measured."""
    for part in parts:
        score.begin_part(part.iterations)
        for number, times in enumerate(part.pairs):
            if number == part.anew and number:
                score.begin_anew()
            score.add(
                Batch(times.reference_wall, times.reference_cpu, None),
                Batch(times.candidate_wall, times.candidate_cpu, None),
            )
        if 0 < part.anew == len(part.pairs):
            score.begin_anew()
