"""Time two callables in pairs, and answer questions about how many times faster one of them is.

The ratio of a pair is time(reference) / time(candidate): above one the candidate is faster. It has one by the wall
clock and one by the CPU clock, which counts all threads and children. A question is two bets on one clock's ratio
(`evalue` explains the bets), checked after every pair. A duel ends when its questions are answered or the budget is
spent. A seeded coin decides which side of a pair runs first, so that drift, noisy neighbours and autocorrelation favour
neither side.
"""

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .bets import Answer, Question
from .evalue import min_pairs
from .score import Decided, Estimate, Score
from .timing import Batch, InProcess, Side, Work, batch_size

MAX_UNCHECKED = 8  # pairs that are measured before their results are checked, at most

Check = Callable[[Any, Any], object]
Progress = Callable[[int, float], object]


@dataclass
class Duel:
    """The result of a duel.

    Attributes:
        name: of the duel, in the report.
        pairs: how many were measured.
        ratio, interval, coverage, confidence_sequence, reference, candidate: by the wall clock, see `Estimate`.
        iterations: calls per batch, the same for both.
        seconds: what all pairs took, checks included.
        seed: of the coin that decided the orders.
        alpha: probability of a wrong answer in this duel.
        note: a caveat about the numbers, or nothing.
        cpu: the estimate by the CPU clock; None where that is too coarse, and in saved runs up to 0004.
        answers: by the question's name.
        candidate_batches: seconds per batch, in the order measured; not saved.
    """

    name: str
    pairs: int
    ratio: float
    interval: tuple[float, float]
    coverage: float
    confidence_sequence: tuple[float, float]
    reference: float
    candidate: float
    iterations: int
    seconds: float
    seed: int
    alpha: float
    note: str = ""
    cpu: Estimate | None = None
    answers: dict[str, Answer] = field(default_factory=dict)
    candidate_batches: list[float] = field(default_factory=list, repr=False)

    @classmethod
    def unmeasured(cls, name: str) -> "Duel":
        """Return a placeholder for a duel with measuring off: no pairs, and NaN for every number."""
        nan = math.nan
        return cls(name, 0, nan, (nan, nan), nan, (nan, nan), nan, nan, 0, 0.0, 0, nan)

    def answer(self, question: str) -> str | None:
        """Return "above", "below" or "open", or None if the question was not asked."""
        return self.answers[question].verdict if question in self.answers else None

    def to_dict(self) -> dict[str, Any]:
        """Return the result without its single times, in JSON types."""
        saved = asdict(self)
        del saved["candidate_batches"]
        return saved

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Duel":
        """Read the output of `to_dict`. Keys of a later version are ignored; saved runs up to 0004 say `told`.

        Raises:
            KeyError, IndexError, TypeError, ValueError, AttributeError: The data is something else.
        """
        known = {f.name for f in fields(cls)}
        values = {key: value for key, value in saved.items() if key in known}
        values["answers"] = {
            name: Answer(**{**answer, "question": Question(**answer["question"])})
            for name, answer in saved["answers"].items()
        }
        cpu = saved.get("cpu")
        values["cpu"] = cpu and Estimate.from_dict(cpu)
        return cls(**{**values, **vars(Estimate.from_dict(saved))})


def run_duel(
    name: str,
    reference: Work | Side,
    candidate: Work | Side,
    questions: Sequence[Question],
    *,
    alpha: float,
    budget: float,
    seed: int,
    check: Check | None = None,
    decided: Decided | None = None,
    progress: Progress | None = None,
) -> Duel:
    """Run a duel.

    Both sides are warmed up and their results compared before anything is measured. The results of every pair are
    compared, outside the timing, before the pair counts. If checks take longer than pairs, several pairs are measured
    before their checks: after a pause the caches are cold, and the side that runs first would look slower.

    There are at least `evalue.min_pairs` pairs, however long they take, because fewer cannot prove anything: `budget`
    bounds only the pairs after these.

    Args:
        name: of the duel, in the report.
        reference: the side to compare with; work that takes no arguments, or a `Side`.
        candidate: the side whose speed is in question.
        questions: what to answer. Without any, the least number of pairs is run, for the estimate alone.
        alpha: probability of any wrong answer in this duel; split over its bets.
        budget: seconds, from the first pair on.
        seed: of the coin that decides the order within each pair.
        check: called with both results; raises AssertionError if they are wrong. Results are kept until then, of
            MAX_UNCHECKED pairs at most, so work must not return one object each time and refill it.
        decided: called after each pair with the answers, by question; whether they suffice. By default every needed
            question must be answered.
        progress: called after each check, with the number of pairs and the seconds since the first pair.

    Raises:
        AssertionError: from `check`. Any exception of either side propagates.
    """
    __tracebackhide__ = True  # pytest then shows the place where `check` or a side failed
    sides = _side(reference), _side(candidate)
    check = check or (lambda _reference, _candidate: None)
    check(sides[0].call(), sides[1].call())
    iterations, note = batch_size(*sides)
    score = Score(questions, alpha, decided)
    least = min_pairs(score.alpha)
    coin = random.Random(seed)
    checking = 0.0  # seconds that the last checks took
    start = time.monotonic()
    while True:
        measured = _measure_pairs(sides, iterations, coin, checking)
        began = time.monotonic()
        for there, here in measured:
            check(there.result, here.result)
        checking = time.monotonic() - began
        for pair in measured:
            score.add(*pair)
        elapsed = time.monotonic() - start
        if progress:
            progress(score.pairs, elapsed)
        if score.pairs >= least and (score.done or elapsed >= budget):
            break
    return Duel(
        name=name,
        pairs=score.pairs,
        **vars(score.wall(iterations)),
        iterations=iterations,
        seconds=time.monotonic() - start,
        seed=seed,
        alpha=alpha,
        note=note,
        cpu=score.cpu(iterations),
        answers=score.answers,
        candidate_batches=score.candidate_batches,
    )


def _side(work: Work | Side) -> Side:
    return InProcess(work) if callable(work) else work


def _measure_pairs(
    sides: tuple[Side, Side], iterations: int, coin: random.Random, long: float
) -> list[tuple[Batch, Batch]]:
    """Measure pairs for `long` seconds, from 1 to MAX_UNCHECKED of them."""
    began = time.monotonic()
    pairs: list[tuple[Batch, Batch]] = []
    while len(pairs) < 1 or (len(pairs) < MAX_UNCHECKED and time.monotonic() - began < long):
        reference, candidate = sides
        if coin.random() < 0.5:
            there = reference.batch(iterations)
            here = candidate.batch(iterations)
        else:
            here = candidate.batch(iterations)
            there = reference.batch(iterations)
        pairs.append((there, here))
    return pairs
