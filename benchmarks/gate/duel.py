"""Time two callables in pairs, and answer questions about how many times faster one of them is.

The ratio of a pair is time(reference) / time(candidate): above one the candidate is faster. A question is two bets on that ratio
(`evalue` says why bets), looked at after every pair; a duel ends when each question has its answer or the budget is spent.
Within a pair a seeded coin decides who runs first, so drift, neighbours and autocorrelation favour neither side.
"""

import gc
import itertools
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from benchmarks.gate.evalue import log_evalue, median_interval, straight_wins, told_bounds

LEAST_BATCH = 1e-3  # seconds; four orders above the clock's grain and the cost of the loop
LONGEST_BATCH = 0.25  # seconds; a batch longer than this, for the slower side, would make a few dozen pairs a long wait

Work = Callable[[], Any]
Check = Callable[[Any, Any], object]


@dataclass(frozen=True)
class Question:
    """Two bets on the ratio of a pair: that it is greater than `above`, and that it is less than `below`.

    A question that is not `needed` is answered if the pairs the others take happen to suffice, and prolongs nothing.
    """

    name: str
    above: float
    below: float
    needed: bool = True


@dataclass
class Answer:
    """How the two bets of one question stand: pairs won, log e-values, and the verdict ("open" until one is won)."""

    question: Question
    wins_above: int = 0
    wins_below: int = 0
    log_e_above: float = 0.0
    log_e_below: float = 0.0
    verdict: Literal["above", "below", "open"] = "open"

    def look(self, ratio: float, pairs: int, alpha: float) -> None:
        """Take in the ratio of pair number `pairs`; the first bet to reach 1/alpha settles the question for good."""
        if self.verdict != "open":
            return
        self.wins_above += ratio > self.question.above
        self.wins_below += ratio < self.question.below
        self.log_e_above = log_evalue(self.wins_above, pairs)
        self.log_e_below = log_evalue(self.wins_below, pairs)
        if max(self.log_e_above, self.log_e_below) >= -math.log(alpha):
            self.verdict = "above" if self.log_e_above >= self.log_e_below else "below"


@dataclass
class Duel:
    """What a duel found. Times are seconds per call; `interval` is (low, high) for the median ratio, `coverage` its own.

    `told` is what the pairs prove about the ratio at the duel's error rate (`evalue.told_bounds`), whatever was asked.
    """

    name: str
    pairs: int
    ratio: float
    interval: tuple[float, float]
    coverage: float
    told: tuple[float, float | None]  # None: no upper bound (JSON has no infinity)
    reference: float
    candidate: float
    iterations: int
    seconds: float
    seed: int
    alpha: float
    note: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    candidate_batches: list[float] = field(default_factory=list, repr=False)  # seconds per batch, not saved

    @classmethod
    def unmeasured(cls, name: str) -> "Duel":
        """Return what stands for a duel where measuring is off: no pairs, and no number that could be mistaken for one."""
        nan = math.nan
        return cls(name, 0, nan, (nan, nan), 0.0, (0.0, None), nan, nan, 0, 0.0, 0, nan)

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
            KeyError, TypeError, ValueError: where it is something else.
        """
        known = {f.name for f in fields(cls)}
        values = {key: value for key, value in saved.items() if key in known}
        values["answers"] = {
            name: Answer(**{**answer, "question": Question(**answer["question"])})
            for name, answer in saved["answers"].items()
        }
        values["interval"] = (float(saved["interval"][0]), float(saved["interval"][1]))
        values["told"] = (float(saved["told"][0]), saved["told"][1])
        return cls(**values)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Switch garbage collection, tracing and profiling off within the block.

    Coverage on sys.monitoring (its default from Python 3.14) stays on: it cannot be paused, and costs both sides the same.
    """
    collecting, tracer, profiler = gc.isenabled(), sys.gettrace(), sys.getprofile()
    gc.disable()
    sys.settrace(None)
    sys.setprofile(None)
    try:
        yield
    finally:
        sys.settrace(tracer)
        sys.setprofile(profiler)
        if collecting:
            gc.enable()


def time_batch(work: Work, iterations: int) -> tuple[float, Any]:
    """Call `work` that many times; return the seconds this took and the last result."""
    result = None
    calls = itertools.repeat(None, iterations)
    start = time.perf_counter_ns()
    for _ in calls:
        result = work()
    elapsed = time.perf_counter_ns() - start
    return max(elapsed, 1) / 1e9, result


def calibrate(reference: Work, candidate: Work) -> tuple[int, str]:
    """Return how many calls make a batch, and a note where the batches had to stay shorter than they should be."""
    iterations = 1
    while True:
        with undisturbed():
            fast, slow = sorted(time_batch(work, iterations)[0] for work in (reference, candidate))
        if fast >= LEAST_BATCH:
            return iterations, ""
        most = int(iterations * LONGEST_BATCH / slow)
        if most <= iterations:
            return iterations, (
                f"the faster side's batches take {fast * 1e6:.0f} us, not {LEAST_BATCH * 1e3:.0f} ms: with more than {iterations} "
                f"calls the slower side's would take longer than {LONGEST_BATCH} s"
            )
        # Ten at a time at most: the first calls are slow, and would be a bad guess for a thousand.
        iterations = min(most, 10 * iterations, math.ceil(1.1 * iterations * LEAST_BATCH / fast))


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
) -> Duel:
    """Run a duel.

    Both sides are warmed up and their results checked before anything is measured, and again after every pair, outside the
    timing. The number of pairs is at least what straight wins need to decide a bet, whatever that takes: fewer could not
    prove anything, so `budget` only bounds the pairs after these.

    Args:
        name: what the duel is called in the report.
        reference: the side the other one is measured by; takes no arguments.
        candidate: the side whose speed is in question; takes no arguments.
        questions: what to find out. With none, the least number of pairs is run, for the estimate alone.
        alpha: probability of any wrong answer in this duel; split over its bets.
        budget: seconds, from the first pair on.
        seed: of the coin that decides the order within each pair.
        check: called with both results; raises AssertionError where they are not what they should be.

    Raises:
        AssertionError: from `check`. Whatever either side raises comes through as it is.
    """
    check = check or (lambda _reference, _candidate: None)
    check(reference(), candidate())
    iterations, note = calibrate(reference, candidate)
    alpha_bet = alpha / (2 * max(len(questions), 1))
    least = straight_wins(alpha_bet)
    answers = [Answer(question) for question in questions]
    coin = random.Random(seed)
    times: tuple[list[float], list[float]] = ([], [])
    ratios: list[float] = []
    start = time.monotonic()
    while True:
        order = (0, 1) if coin.random() < 0.5 else (1, 0)
        results: list[Any] = [None, None]
        with undisturbed():
            for side in order:
                seconds, results[side] = time_batch((reference, candidate)[side], iterations)
                times[side].append(seconds)
        check(*results)
        ratios.append(times[0][-1] / times[1][-1])
        for answer in answers:
            answer.look(ratios[-1], len(ratios), alpha_bet)
        settled = all(answer.verdict != "open" for answer in answers if answer.question.needed)
        if len(ratios) >= least and (settled or time.monotonic() - start >= budget):
            break
    low, high, coverage = median_interval(ratios)
    proven, disproved = told_bounds(ratios, alpha_bet)
    return Duel(
        name=name,
        pairs=len(ratios),
        ratio=statistics.median(ratios),
        interval=(low, high),
        coverage=coverage,
        told=(proven, disproved if math.isfinite(disproved) else None),
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
