"""From which run on is a ratio another one? Change points of a history.

The model: the ratio's logarithm is constant between change points, with noise of one size. ruptures finds, for each
number of changes, the places with the least squares. How many there are is decided here, because no number of the
library's is a p-value: one more change, or two at once (down, and up again), must reduce the squares by more than
noise does. An F test says how much that is, and its p-value is multiplied by the number of places to choose from
(Bonferroni), so the error rate holds for whichever place was best. A single run that stands out, and is followed by
others that do not, is an outlier and no change: it is left out, and the rest is searched again. METHODOLOGY,
"History", has what was measured.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy.special import fdtrc, stdtr

ALPHA = 0.001  # probability that a history without a change has a mark
LEAST = 0.03  # a smaller change is not marked: it is what `--against` calls the same
FEWEST = 4  # points of a history that is searched
MOST = 12  # changes in one history
# A single change gets nearly all of alpha, because with few runs it needs that. Two at once, a slowdown and its repair,
# take more runs, and then show by orders of magnitude.
SHARES = {1: 0.9, 2: 0.1}


class LibraryMissingError(Exception):
    """ruptures is not installed; the message says how to get it."""


@dataclass(frozen=True)
class Change:
    """A change point.

    Attributes:
        index: of the first point after the change.
        before: the ratio before it, back to the change before; a geometric mean.
        after: from it on, up to the next change.
        p: the probability of a mark at least as clear without a change, for the best of all places it could have.
        previous: the last point before the change that is no outlier.
    """

    index: int
    before: float
    after: float
    p: float
    previous: int

    @property
    def percent(self) -> float:
        """Return the change in per cent of what was before."""
        return 100 * (self.after / self.before - 1)


class Changes(NamedTuple):
    """What a history shows: its changes, oldest first, and the points that are outliers."""

    changes: list[Change]
    outliers: list[int]


def library() -> Any:
    """Return ruptures.

    Raises:
        LibraryMissingError: It is not installed.
    """
    try:
        import ruptures  # noqa: PLC0415 - an extra of the gate: only a page with a history needs it
    except ImportError as error:
        raise LibraryMissingError(
            "no change points are marked, because ruptures is not installed: it is in the extra `report` "
            '(pip install "ml-performance-suite[report]"), and is made for Python up to 3.13'
        ) from error
    return ruptures


def find_changes(ratios: Sequence[float], errors: Sequence[float], alpha: float = ALPHA) -> Changes:
    """Return the change points and the outliers of a history.

    Args:
        ratios: above zero; oldest first.
        errors: what the logarithm of each is uncertain by (a standard deviation) even where runs agree. The noise
            between runs is never taken for less.
        alpha: the probability that a history without a change has a mark.

    Raises:
        LibraryMissingError: ruptures is not installed.
    """
    ruptures = library()
    logs, least_variances = np.log(np.asarray(ratios, dtype=float)), np.square(np.asarray(errors, dtype=float))
    outliers: list[int] = []
    while True:
        kept = np.delete(np.arange(len(logs)), outliers)
        if len(kept) < FEWEST:
            return Changes([], sorted(outliers))
        series = _Series(logs[kept], float(least_variances[kept].mean()), alpha)
        changes = series.kept(_candidates(series.logs, ruptures))
        alone = [one.index for one, following in pairwise(changes) if following.index - one.index == 1]
        if not alone:
            named = [replace(one, index=int(kept[one.index]), previous=int(kept[one.previous])) for one in changes]
            return Changes(named, sorted(outliers))
        outliers += [int(kept[index]) for index in alone]


def _candidates(logs: Any, ruptures: Any) -> list[list[int]]:
    """Return the best places for no change, for one, for two, and so on."""
    most = min(MOST, len(logs) // 2)
    search = ruptures.KernelCPD(kernel="linear", min_size=1).fit(logs - logs.mean())
    search.predict(n_bkps=most)  # which finds the places for each smaller number as well
    return [[], *(search.predict(n_bkps=count)[:-1] for count in range(1, most + 1))]


@dataclass(frozen=True)
class _Series:
    """Logarithms, the least variance that their noise can have, and the error rate."""

    logs: Any
    least_variance: float
    alpha: float

    def kept(self, candidates: Sequence[list[int]]) -> list[Change]:
        """Return as many changes as the F tests admit, without those that are too small or not clear by themselves."""
        places = self._chosen(candidates)
        while places:
            changes = self._changes(places)
            small = [each for each in changes if abs(math.log(each.after / each.before)) < math.log1p(LEAST)]
            weakest = max(small or changes, key=lambda change: change.p)
            if not small and weakest.p <= self.alpha:
                return changes
            places = [place for place in places if place != weakest.index]
        return []

    def _chosen(self, places: Sequence[list[int]]) -> list[int]:
        squares = [self._squares(each) for each in places]
        count = 0
        while True:
            for more, share in SHARES.items():
                if count + more < len(places) and self._p(squares, count, more) <= share * self.alpha:
                    count += more
                    break
            else:
                return places[count]

    def _p(self, squares: Sequence[float], count: int, more: int) -> float:
        """Return the corrected p-value of the F test of `more` changes beside `count`."""
        freedom = len(self.logs) - count - more - 1
        if freedom < 1:
            return 1.0
        statistic = (squares[count] - squares[count + more]) / more / self._variance(squares[count + more], freedom)
        return math.comb(len(self.logs) - 1 - count, more) * float(fdtrc(more, freedom, statistic))

    def _changes(self, places: Sequence[int]) -> list[Change]:
        """Return the change at each place, by t tests with the noise of the whole series."""
        ends = [0, *places, len(self.logs)]
        means = [float(self.logs[start:end].mean()) for start, end in pairwise(ends)]
        freedom = len(self.logs) - len(means)
        variance = self._variance(self._squares(places), freedom)
        changes = []
        for i, place in enumerate(places):
            before, after = place - ends[i], ends[i + 2] - place
            size = abs(means[i + 1] - means[i]) / math.sqrt(variance * (1 / before + 1 / after))
            p = min(1.0, (before + after - 1) * 2 * float(stdtr(freedom, -size)))
            changes.append(Change(place, math.exp(means[i]), math.exp(means[i + 1]), p, place - 1))
        return changes

    def _variance(self, squares: float, freedom: int) -> float:
        return max(squares / freedom, self.least_variance, np.finfo(float).tiny)

    def _squares(self, places: Sequence[int]) -> float:
        """Return the sum of the squared distances from the means between these places."""
        parts = np.split(self.logs, places)
        return float(sum(np.square(part - part.mean()).sum() for part in parts))
