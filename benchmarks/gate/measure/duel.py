"""Time two callables in pairs, and answer questions about how many times faster one of them is.

The ratio of a pair is time(reference) / time(candidate): above one the candidate is faster. A question is two bets on
that ratio (`evalue` explains the bets), checked after every pair. A duel ends when each question is answered or the
budget is spent. A seeded coin decides which side of a pair runs first, so that drift, noisy neighbours and
autocorrelation favour neither side.
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from . import evalue
from .evalue import log_evalue, median_interval, min_pairs
from .timing import Work, batch_size, time_batch, undisturbed

MAX_UNCHECKED = 8  # pairs that are measured before their results are checked, at most

Check = Callable[[Any, Any], object]
Progress = Callable[[int, float], object]


@dataclass(frozen=True)
class Question:
    """Two bets on the ratio of a pair: that it is greater than `above`, and that it is less than `below`.

    A question that is not `needed` is answered if the pairs of the other questions suffice. It extends a duel, to twice
    those pairs at most, only while its bet on `above` is ahead: the answer is then near.
    """

    name: str
    above: float
    below: float
    needed: bool = True


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
        """Add the ratio of pair number `pairs`. The first bet to reach 1/alpha answers the question for good."""
        if self.verdict != "open":
            return
        self.pairs = pairs
        self.wins_above += ratio > self.question.above
        self.wins_below += ratio < self.question.below
        self.log_e_above = log_evalue(self.wins_above, pairs)
        self.log_e_below = log_evalue(self.wins_below, pairs)
        if max(self.log_e_above, self.log_e_below) >= -math.log(alpha):
            self.verdict = "above" if self.log_e_above >= self.log_e_below else "below"


@dataclass
class Duel:
    """The result of a duel.

    Attributes:
        name: of the duel, in the report.
        pairs: how many were measured.
        ratio: median of the paired ratios, time(reference) / time(candidate).
        interval: (low, high) for the median ratio, see `evalue.median_interval`.
        coverage: of the interval, as a share.
        confidence_sequence: (low, high), limits for the median ratio with the error rate of this duel's bets, valid
            however often the pairs were looked at (`evalue.confidence_sequence`).
        reference: median seconds per call.
        candidate: median seconds per call.
        iterations: calls per batch, the same for both.
        seconds: what all pairs took, checks included.
        seed: of the coin that decided the orders.
        alpha: probability of a wrong answer in this duel.
        note: a caveat about the numbers, or nothing.
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
        values["interval"] = (float(saved["interval"][0]), float(saved["interval"][1]))
        limits = saved["confidence_sequence" if "confidence_sequence" in saved else "told"]
        values["confidence_sequence"] = (float(limits[0]), float(limits[1]))
        return cls(**values)


def run_duel(
    name: str,
    reference: Work,
    candidate: Work,
    questions: Sequence[Question],
    *,
    alpha: float,
    budget: float,
    seed: int,
    check: Check | None = None,
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
        reference: the side to compare with; takes no arguments.
        candidate: the side whose speed is in question; takes no arguments.
        questions: what to answer. Without any, the least number of pairs is run, for the estimate alone.
        alpha: probability of any wrong answer in this duel; split over its bets.
        budget: seconds, from the first pair on.
        seed: of the coin that decides the order within each pair.
        check: called with both results; raises AssertionError if they are wrong. Results are kept until then, of
            MAX_UNCHECKED pairs at most, so work must not return one object each time and refill it.
        progress: called after each check, with the number of pairs and the seconds since the first pair.

    Raises:
        AssertionError: from `check`. Any exception of either side propagates.
    """
    __tracebackhide__ = True  # pytest then shows the place where `check` or a side failed
    check = check or (lambda _reference, _candidate: None)
    check(reference(), candidate())
    iterations, note = batch_size(reference, candidate)
    alpha_bet = alpha / (2 * max(len(questions), 1))
    least = min_pairs(alpha_bet)
    answers = [Answer(question) for question in questions]
    coin = random.Random(seed)
    times: tuple[list[float], list[float]] = ([], [])
    ratios: list[float] = []
    settled: int | None = None  # number of pairs after which every needed question was answered
    checking = 0.0  # seconds that the last checks took
    start = time.monotonic()
    while True:
        results = _measure_pairs((reference, candidate), iterations, coin, times, checking)
        began = time.monotonic()
        for both in results:
            check(*both)
        checking = time.monotonic() - began
        for pair in range(len(ratios), len(times[0])):
            ratios.append(times[0][pair] / times[1][pair])
            for answer in answers:
                answer.look(ratios[-1], len(ratios), alpha_bet)
            if settled is None and all(answer.verdict != "open" for answer in answers if answer.question.needed):
                settled = len(ratios)
        pairs, elapsed = len(ratios), time.monotonic() - start
        if progress:
            progress(pairs, elapsed)
        near = any(answer.verdict == "open" and answer.log_e_above > 0 for answer in answers)
        done = settled is not None and not (near and pairs < 2 * settled)
        if pairs >= least and (done or elapsed >= budget):
            break
    low, high, coverage = median_interval(ratios)
    return Duel(
        name=name,
        pairs=len(ratios),
        ratio=statistics.median(ratios),
        interval=(low, high),
        coverage=coverage,
        confidence_sequence=evalue.confidence_sequence(ratios, alpha_bet),
        reference=statistics.median(times[0]) / iterations,
        candidate=statistics.median(times[1]) / iterations,
        iterations=iterations,
        seconds=time.monotonic() - start,
        seed=seed,
        alpha=alpha,
        note=note,
        answers={answer.question.name: answer for answer in answers},
        candidate_batches=times[1],
    )


def _measure_pairs(
    sides: tuple[Work, Work], iterations: int, coin: random.Random, times: tuple[list[float], list[float]], long: float
) -> list[tuple[Any, Any]]:
    """Measure pairs for `long` seconds, from 1 to MAX_UNCHECKED of them; add their times and return their results."""
    began = time.monotonic()
    unchecked: list[tuple[Any, Any]] = []
    while len(unchecked) < 1 or (len(unchecked) < MAX_UNCHECKED and time.monotonic() - began < long):
        order = (0, 1) if coin.random() < 0.5 else (1, 0)
        results: list[Any] = [None, None]
        with undisturbed():
            for side in order:
                seconds, results[side] = time_batch(sides[side], iterations)
                times[side].append(seconds)
        unchecked.append((results[0], results[1]))
    return unchecked
