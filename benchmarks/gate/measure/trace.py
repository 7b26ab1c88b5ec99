"""How a duel went: the distribution of its paired ratios, and what its bets were worth along the way."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .duel import Duel
from .evidence import replay
from .score import Score
from .timing import Batch

QUANTILES = (0, 5, 25, 50, 75, 95, 100)  # per cent
MOST_BINS = 30
MOST_CHECKPOINTS = 60


class _Watched(Score):
    """A score that remembers its ratios, and the state of its bets after each pair that counts."""

    def begin_part(self, iterations: int) -> None:
        super().begin_part(iterations)
        # Score's own constructor begins a part, before there is anything to remember.
        self.ratios: list[float] = getattr(self, "ratios", [])
        self.states: list[dict[str, tuple[float, float]]] = getattr(self, "states", [])

    def begin_anew(self) -> None:
        super().begin_anew()
        self.ratios, self.states = [], []

    def add(self, reference: Batch, candidate: Batch) -> None:
        super().add(reference, candidate)
        self.ratios.append(reference.wall / candidate.wall)
        self.states.append({name: (each.log_e_above, each.log_e_below) for name, each in self.answers.items()})


def trace(duel: Duel) -> dict[str, Any] | None:
    """Return what can be drawn of a duel, in JSON types; None for one that keeps no single times, as saved ones do.

    The pairs are those that count (see `Part.anew`), their ratios by wall time. `quantiles` are pairs of per cent and
    ratio. `histogram` has the `edges` of bins that are equally wide on a logarithmic scale, and their `counts`.
    `evidence` has numbers of `pairs`, MOST_CHECKPOINTS of them at most, and for each question the natural logarithms
    of what its two bets were worth then; a bet is won at `log_threshold`, and an answered question stays as it is.
    """
    if not duel.parts:
        return None
    score = _Watched([answer.question for answer in duel.answers.values()], duel.alpha)
    replay(score, duel.parts)
    if not score.ratios:
        return None
    at = checkpoints(len(score.states))
    states = [score.states[pairs - 1] for pairs in at]
    return {
        "quantiles": [[q, _short(value)] for q, value in zip(QUANTILES, _quantiles(score.ratios), strict=True)],
        "histogram": histogram(score.ratios),
        "evidence": {
            "log_threshold": -math.log(score.alpha),
            "pairs": at,
            "questions": {
                name: {
                    "above": [_short(state[name][0]) for state in states],
                    "below": [_short(state[name][1]) for state in states],
                }
                for name in score.answers
            },
        },
    }


def checkpoints(pairs: int) -> list[int]:
    """Return numbers from 1 to `pairs`, evenly spaced, the last one included: MOST_CHECKPOINTS at most."""
    return sorted({round(number) for number in np.linspace(1, pairs, min(pairs, MOST_CHECKPOINTS))})


def histogram(ratios: Sequence[float]) -> dict[str, list[float]]:
    """Return the edges of bins on a logarithmic scale, and how many of the ratios are in each."""
    low, high = min(ratios), max(ratios)
    if low == high:
        return {"edges": [low, high], "counts": [len(ratios)]}
    # As many bins as Freedman and Diaconis advise, between a few and MOST_BINS: their rule alone takes one bin of many
    # equal ratios, and thousands where a single ratio is far from the others.
    advised = len(np.histogram_bin_edges(np.log(ratios), "fd")) - 1 if _spread(ratios) else MOST_BINS
    edges = np.geomspace(low, high, min(MOST_BINS, max(5, advised)) + 1)
    edges[0], edges[-1] = low, high  # exactly, or rounding leaves one of them outside
    counts, _ = np.histogram(ratios, edges)
    return {"edges": [_short(edge) for edge in edges], "counts": [int(count) for count in counts]}


def _spread(ratios: Sequence[float]) -> bool:
    low, high = np.quantile(ratios, (0.25, 0.75))
    # Where the middle half is much narrower than the whole, the rule asks for more bins than are ever drawn, or than
    # memory holds.
    return bool(high > low and math.log(max(ratios) / min(ratios)) / math.log(high / low) < 1e3)


def _quantiles(ratios: Sequence[float]) -> list[float]:
    return [float(value) for value in np.percentile(ratios, QUANTILES)]


def _short(value: float) -> float:
    """Return a number with the five digits that a picture can show."""
    return float(f"{value:.5g}")
