"""Duels of several candidates with one reference that takes long: in each round all of them share its one call.

A pair is the reference's call and a candidate's call in the same round. A candidate's pairs are bets like those of any
other duel; that other candidates have the same reference's times makes the duels depend on one another, which the
division of alpha among them allows for: it assumes nothing about independence.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .bets import Question, least_pairs
from .duel import Check, Duel, Progress, recall
from .evidence import Part, Times
from .score import Score
from .timing import Batch, InProcess, Work

__all__ = ["Rounds"]

Outcome = Batch | Exception


@dataclass(frozen=True)
class Round:
    """One call of each side, and what they took together in seconds."""

    reference: Batch
    candidates: Mapping[str, Outcome]
    seconds: float


class Rounds:
    """One reference, and candidates by name, measured in rounds as far as their duels need them.

    The first duel measures all candidates; the next ones begin with the rounds that there are, and go on if those do
    not suffice. A bet may be continued at any time, so it does not matter which duel decided to stop. Unlike `run_duel`
    this does not look for effects of the order, which is drawn anew for each round.
    """

    def __init__(
        self, reference: Work, candidates: Mapping[str, Work], prepare: Callable[[], object] | None = None
    ) -> None:
        """Take the sides.

        Args:
            reference: takes no arguments.
            candidates: likewise, by name.
            prepare: called before each round, outside the timing. Results are kept until their duel checks them, so
                work must not return one object each time and refill it.
        """
        self._reference = InProcess(reference)
        self._candidates = {name: InProcess(work) for name, work in candidates.items()}
        self._prepare = prepare or (lambda: None)
        self._rounds: list[Round] = []  # the first one warms up and is not timed

    def warm_up(self, candidate: str, check: Check | None = None) -> None:
        """Check the results of the first round, in which each side is called once, untimed.

        Raises:
            ValueError: There is no such candidate.
            Exception: what the candidate raised, or AssertionError from `check`.
        """
        __tracebackhide__ = True  # pytest then shows the place where `check` or a side failed
        if candidate not in self._candidates:
            raise ValueError(f"no candidate {candidate!r}; there are {', '.join(self._candidates)}")
        if not self._rounds:
            self._measure([None, *self._candidates])
        _pair(self._rounds[0], candidate, check)

    def duel(
        self,
        name: str,
        candidate: str,
        questions: Sequence[Question],
        *,
        alpha: float,
        budget: float,
        seed: int,
        check: Check | None = None,
        progress: Progress | None = None,
    ) -> Duel:
        """Run one candidate's duel; the arguments and the result are those of `run_duel`.

        `budget` and the result's seconds are of all rounds that the duel has used, with everything that ran in them.

        Raises:
            ValueError: There is no such candidate.
            Exception: what the candidate raised, or AssertionError from `check`.
        """
        __tracebackhide__ = True
        self.warm_up(candidate, check)
        score = Score(questions, alpha)
        least = least_pairs(questions, score.alpha)
        coin = random.Random(seed)
        times: list[Times] = []
        elapsed = 0.0
        while score.pairs < least or not (score.done or elapsed >= budget):
            number = len(times) + 1
            if number == len(self._rounds):
                self._measure(self._order(coin))
            this = self._rounds[number]
            reference, measured = _pair(this, candidate, check)
            score.add(reference, measured)
            times.append(Times(reference.wall, reference.cpu, measured.wall, measured.cpu))
            elapsed += this.seconds
            if progress:
                progress(score.pairs, elapsed, score.evidence)
        return recall(name, questions, [Part(seed, 1, elapsed, times)], alpha=alpha)

    def _order(self, coin: random.Random) -> list[str | None]:
        """Return a random order of the reference (None) and the candidates that have not failed."""
        last = self._rounds[-1].candidates
        order = [None, *(name for name, outcome in last.items() if isinstance(outcome, Batch))]
        coin.shuffle(order)
        return order

    def _measure(self, order: Sequence[str | None]) -> None:
        """Measure a round. What a candidate raises is kept for its own duel, and it leaves the rounds."""
        self._prepare()
        began = time.monotonic()
        outcomes: dict[str, Outcome] = dict(self._rounds[-1].candidates) if self._rounds else {}
        for name in order:
            if name is None:
                reference = self._reference.batch(1)
                continue
            try:
                outcomes[name] = self._candidates[name].batch(1)
            except Exception as error:  # noqa: BLE001 - raised again in the candidate's duel
                outcomes[name] = error
        self._rounds.append(Round(reference, outcomes, time.monotonic() - began))


def _pair(this: Round, candidate: str, check: Check | None) -> tuple[Batch, Batch]:
    """Return a candidate's pair of a round, checked."""
    __tracebackhide__ = True
    outcome = this.candidates[candidate]
    if isinstance(outcome, Exception):
        raise outcome
    if check:
        check(this.reference.result, outcome.result)
    return this.reference, outcome
