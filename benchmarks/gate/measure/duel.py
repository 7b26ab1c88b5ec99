"""Time two callables in pairs, and answer questions about how many times faster one of them is.

The ratio of a pair is time(reference) / time(candidate): above one the candidate is faster. A question is two bets on
that ratio (`evalue` says why bets), looked at after every pair; a duel ends when each question has its answer or the
budget is spent. Within a pair a seeded coin decides who runs first, so that drift, neighbours and autocorrelation
favour neither side.
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from .evalue import log_evalue, median_interval, straight_wins, told_bounds
from .timing import Work, calibrate, time_batch, undisturbed

TOGETHER = 8  # pairs that are checked together, at most

Check = Callable[[Any, Any], object]
Progress = Callable[[int, float], object]


@dataclass(frozen=True)
class Question:
    """Two bets on the ratio of a pair: that it is greater than `above`, and that it is less than `below`.

    A question that is not `needed` is answered if the pairs the others take suffice. It prolongs a duel, to twice these
    pairs at most, only while its bet on `above` is ahead: then the answer is near.
    """

    name: str
    above: float
    below: float
    needed: bool = True


@dataclass
class Answer:
    """How the two bets of one question stand after `pairs`: wins, log e-values, and "open" until one of them is won."""

    question: Question
    pairs: int = 0
    wins_above: int = 0
    wins_below: int = 0
    log_e_above: float = 0.0
    log_e_below: float = 0.0
    verdict: Literal["above", "below", "open"] = "open"

    def look(self, ratio: float, pairs: int, alpha: float) -> None:
        """Take in the ratio of pair number `pairs`; the first bet to reach 1/alpha settles the question for good."""
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
    """What a duel found.

    Attributes:
        name: of the duel, in the report.
        pairs: how many were measured.
        ratio: median of the paired ratios, time(reference) / time(candidate).
        interval: (low, high) for the median ratio, see `evalue.median_interval`.
        coverage: of the interval, as a share.
        told: what the pairs prove about the median ratio, whatever was asked: more than the first, less than the second
            (`evalue.told_bounds`, with the error rate of this duel's bets). A limit within could not have been told.
        reference: median seconds per call.
        candidate: median seconds per call.
        iterations: calls per batch, the same for both.
        seconds: what all pairs took, checks included.
        seed: of the coin that decided the orders.
        alpha: probability of a wrong answer in this duel.
        note: what a reader of the numbers should know, or nothing.
        answers: by the question's name.
        candidate_batches: seconds per batch, in the order measured; not saved.
    """

    name: str
    pairs: int
    ratio: float
    interval: tuple[float, float]
    coverage: float
    told: tuple[float, float]
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
        """Return what stands for a duel where measuring is off: no pairs, and not-a-number for every number."""
        nan = math.nan
        return cls(name, 0, nan, (nan, nan), nan, (nan, nan), nan, nan, 0, 0.0, 0, nan)

    def answer(self, question: str) -> str | None:
        """Return "above", "below" or "open", or None where that question was not asked."""
        return self.answers[question].verdict if question in self.answers else None

    def to_dict(self) -> dict[str, Any]:
        """Return what is worth saving, in types JSON knows."""
        saved = asdict(self)
        del saved["candidate_batches"]
        return saved

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Duel":
        """Read what `to_dict` wrote; keys of a later version are passed over.

        Raises:
            KeyError, IndexError, TypeError, ValueError, AttributeError: where it is something else.
        """
        known = {f.name for f in fields(cls)}
        values = {key: value for key, value in saved.items() if key in known}
        values["answers"] = {
            name: Answer(**{**answer, "question": Question(**answer["question"])})
            for name, answer in saved["answers"].items()
        }
        values["interval"] = (float(saved["interval"][0]), float(saved["interval"][1]))
        values["told"] = (float(saved["told"][0]), float(saved["told"][1]))
        return cls(**values)


def fight(
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

    Both sides are warmed up and their results checked before anything is measured, and those of every pair before it
    counts, outside the timing. Where checks take longer than pairs, some pairs are measured before their checks: after
    a pause the caches belong to others, and whoever comes first would be the slower one. There are always as many pairs
    as straight wins need to decide a bet (`evalue.straight_wins`), however long they take: fewer could not prove
    anything, so `budget` only bounds the pairs after these.

    Args:
        name: what the duel is called in the report.
        reference: the side the other one is measured by; takes no arguments.
        candidate: the side whose speed is in question; takes no arguments.
        questions: what to find out. With none, the least number of pairs is run, for the estimate alone.
        alpha: probability of any wrong answer in this duel; split over its bets.
        budget: seconds, from the first pair on.
        seed: of the coin that decides the order within each pair.
        check: called with both results; raises AssertionError where they are not what they should be. Results are kept
            until then, of TOGETHER pairs at most: work must not return one object each time and fill it anew.
        progress: called when pairs were checked, with the pairs so far and the seconds since the first.

    Raises:
        AssertionError: from `check`. Whatever either side raises comes through as it is.
    """
    __tracebackhide__ = True  # in pytest, where `check` or a side fails, that is the place to show
    check = check or (lambda _reference, _candidate: None)
    check(reference(), candidate())
    iterations, note = calibrate(reference, candidate)
    alpha_bet = alpha / (2 * max(len(questions), 1))
    least = straight_wins(alpha_bet)
    answers = [Answer(question) for question in questions]
    coin = random.Random(seed)
    times: tuple[list[float], list[float]] = ([], [])
    ratios: list[float] = []
    settled: int | None = None  # after how many pairs every question that is needed had its answer
    checking = 0.0  # seconds, at the last time
    start = time.monotonic()
    while True:
        began = time.monotonic()
        unchecked: list[list[Any]] = []
        while len(unchecked) < 1 or (len(unchecked) < TOGETHER and time.monotonic() - began < checking):
            order = (0, 1) if coin.random() < 0.5 else (1, 0)
            results: list[Any] = [None, None]
            with undisturbed():
                for side in order:
                    seconds, results[side] = time_batch((reference, candidate)[side], iterations)
                    times[side].append(seconds)
            unchecked.append(results)
        began = time.monotonic()
        for results in unchecked:
            check(*results)
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
        told=told_bounds(ratios, alpha_bet),
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
