"""A binary search for the first bad commit that goes around commits that cannot be judged."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Outcome: TypeAlias = Literal["good", "bad", "skip"]

GOOD = -1  # the place of the known good commit, before the first candidate


@dataclass(frozen=True)
class Bracket:
    """Where the first bad commit is.

    Attributes:
        good: the place of the last commit found good; GOOD is the known one.
        bad: the place of the first commit found bad.
    """

    good: int
    bad: int

    @property
    def suspects(self) -> range:
        """Return the places of the commits, one of which is the first bad one."""
        return range(self.good + 1, self.bad + 1)


def most_probes(count: int, skips: int) -> int:
    """Return the number of probes that `first_bad` makes at most: each that is judged halves what is open."""
    between = max(count - 1, 0)
    return min(between, between.bit_length() + skips)


def first_bad(count: int, judge: Callable[[int], Outcome], skips: int) -> Bracket:
    """Find the first bad one of `count` candidates, oldest first, of which the last is known to be bad.

    Each probe is of the middle one of the candidates that are still open. After a skipped one that is its neighbour.
    The search ends when none is open, or when more than `skips` of them were skipped. If badness is monotone, the first
    bad one is among the suspects. If not, the suspects still begin after a good commit and end with a bad one.

    Raises:
        ValueError: There is no candidate.
    """
    if count < 1:
        raise ValueError("there is no candidate, so none can be the first bad one")
    bracket, skipped = Bracket(GOOD, count - 1), set[int]()
    while len(skipped) <= skips:
        unjudged = [place for place in bracket.suspects[:-1] if place not in skipped]
        if not unjudged:
            break
        place = unjudged[len(unjudged) // 2]
        match judge(place):
            case "good":
                bracket = Bracket(place, bracket.bad)
            case "bad":
                bracket = Bracket(bracket.good, place)
            case "skip":
                skipped.add(place)
    return bracket
