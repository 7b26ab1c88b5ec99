"""Time two callables in pairs, and answer questions about how many times faster one of them is.

The ratio of a pair is time(reference) / time(candidate): above one the candidate is faster. It has one by the wall
clock and one by the CPU clock, which counts all threads and children. A question is two bets on one clock's ratio
(`evalue` explains the bets), checked after every pair. A duel ends when its questions are answered or the budget is
spent. A seeded coin decides which side of a pair runs first, so that drift, noisy neighbours and autocorrelation favour
neither side. Where the order changes the times by enough to hide a slowdown (`order`), one call of a side is discarded
before each of its batches, which then follows its own side in any case.
"""

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, NamedTuple

from .bets import Answer, Question, least_pairs
from .evidence import Part, Times, replay
from .order import OrderEffects
from .score import Decided, Estimate, Score
from .tail import TailQuestion
from .timing import Batch, InProcess, Side, Work, batch_size

MAX_UNCHECKED = 8  # pairs that are measured before their results are checked, at most
FIRST_LOOK = 16  # pairs after which the effects of the order are looked at, and again each time that they double

NOT_SAVED = {"candidate_seconds", "done", "parts"}  # of a duel

Check = Callable[[Any, Any], object]
Progress = Callable[[int, float, float], object]


@dataclass(frozen=True, kw_only=True)
class Duel(Estimate):
    """The result of a duel: the estimate by the wall clock, and the rest.

    Attributes:
        name: of the duel, in the report.
        pairs: how many count.
        iterations: calls per batch, the same for both; in the last part, if there are several.
        seconds: what all pairs took, checks included.
        seed: of the coin that decided the orders, likewise.
        alpha: probability of a wrong answer in this duel.
        note: a caveat about the numbers, or nothing.
        cpu: the estimate by the CPU clock; None where that is too coarse, and in saved runs up to 0004.
        answers: by the question's name.
        slow_calls: the share of additional slow calls that the pairs rule out; None if that was not asked (`tail`).
        position: the share by which the first of a pair is slower, whichever side it is; None if too few pairs show it.
        carry_over: the share by which a batch is slower after the candidate than after the reference, likewise.
        discards: whether a call was discarded before each batch, because one of these two hid the tolerance. Both are
            of the pairs before that, which count for nothing else.
        candidate_seconds: of the candidate, per call of each batch, in the order measured; not saved.
        done: whether more pairs were not asked for; if not, the time was over. Not saved.
        parts: what it was measured in, to continue it; not saved.
    """

    name: str
    pairs: int
    iterations: int
    seconds: float
    seed: int
    alpha: float
    note: str = ""
    cpu: Estimate | None = None
    answers: dict[str, Answer] = field(default_factory=dict)
    slow_calls: float | None = None
    position: float | None = None
    carry_over: float | None = None
    discards: bool = False
    candidate_seconds: list[float] = field(default_factory=list, repr=False)
    done: bool = True
    parts: tuple[Part, ...] = field(default=(), repr=False)

    @classmethod
    def unmeasured(cls, name: str) -> "Duel":
        """Return a placeholder for a duel with measuring off: no pairs, and NaN for every number."""
        nan = math.nan
        nothing = Estimate(nan, (nan, nan), nan, (nan, nan), nan, nan)
        return cls(name=name, pairs=0, iterations=0, seconds=0.0, seed=0, alpha=nan, **vars(nothing))

    def answer(self, question: str) -> str | None:
        """Return "above", "below" or "open", or None if the question was not asked."""
        return self.answers[question].verdict if question in self.answers else None

    def to_dict(self) -> dict[str, Any]:
        """Return the result without its single times, in JSON types."""
        saved = asdict(replace(self, candidate_seconds=[], parts=()))
        return {key: value for key, value in saved.items() if key not in NOT_SAVED}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Duel":
        """Read the output of `to_dict`. Keys of a later version are ignored; saved runs up to 0004 say `told`.

        Raises:
            KeyError, IndexError, TypeError, ValueError, AttributeError: The data is something else.
        """
        known = {f.name for f in fields(cls)} - NOT_SAVED
        values = {key: value for key, value in saved.items() if key in known}
        values["answers"] = {
            name: type(question.answer())(**{**answer, "question": question})
            for name, answer in saved["answers"].items()
            for question in [_question(answer["question"])]
        }
        cpu = saved.get("cpu")
        values["cpu"] = cpu and Estimate.from_dict(cpu)
        return cls(**{**values, **vars(Estimate.from_dict(saved))})


class Pair(NamedTuple):
    """A pair of batches, and which one was first."""

    reference: Batch
    candidate: Batch
    reference_first: bool


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
    evidence: Sequence[Part] = (),
) -> Duel:
    """Run a duel, or continue one.

    Both sides are warmed up and their results compared before anything is measured. The results of every pair are
    compared, outside the timing, before the pair counts. If checks take longer than pairs, several pairs are measured
    before their checks: after a pause the caches are cold, and the side that runs first would look slower.

    There are at least `bets.least_pairs` pairs, however long they take, because fewer cannot prove anything: `budget`
    bounds only the pairs after these. Pairs from before calls were discarded do not count.

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
        progress: called after each check, with the number of pairs that count, the seconds since the first pair, and
            how far the bets are, in [0, 1] (`Score.evidence`).
        evidence: the parts of this duel that were measured before; their pairs count. The seed must be a new one.

    Raises:
        AssertionError: from `check`. Any exception of either side propagates.
    """
    __tracebackhide__ = True  # pytest then shows the place where `check` or a side failed
    sides = _side(reference), _side(candidate)
    check = check or (lambda _reference, _candidate: None)
    check(sides[0].call(), sides[1].call())
    iterations, note = batch_size(*sides)
    score = Score(questions, alpha, decided)
    replay(score, evidence)
    score.begin_part(iterations)
    least = least_pairs(questions, score.alpha)
    order, look = OrderEffects(), FIRST_LOOK
    # Where calls are discarded from the first pair on, the order's effects are those that were seen before.
    discards, anew = bool(evidence) and evidence[-1].discards, 0
    effects = evidence[-1] if discards else order
    times: list[Times] = []
    coin = random.Random(seed)
    checking = 0.0  # seconds that the last checks took
    start = time.monotonic()
    elapsed = 0.0
    while score.pairs < least or not (score.done or elapsed >= budget):
        measured = _measure_pairs(sides, iterations, coin, checking, discards=discards)
        began = time.monotonic()
        for pair in measured:
            check(pair.reference.result, pair.candidate.result)
        checking = time.monotonic() - began
        for pair in measured:
            times.append(Times(pair.reference.wall, pair.reference.cpu, pair.candidate.wall, pair.candidate.cpu))
            score.add(pair.reference, pair.candidate)
            if not discards:
                order.add(pair.reference.wall, pair.candidate.wall, reference_first=pair.reference_first)
        elapsed = time.monotonic() - start
        if progress:
            progress(score.pairs, elapsed, score.evidence)
        finished = score.pairs >= least and (score.done or elapsed >= budget)
        if not (finished or discards) and len(times) >= look:
            look *= 2
            discards = order.hide(_tolerance(questions) / 2)
            if discards:
                score.begin_anew()
                anew = len(times)
    part = Part(
        seed=seed,
        iterations=iterations,
        seconds=time.monotonic() - start,
        pairs=times,
        anew=anew,
        discards=discards,
        position=effects.position,
        carry_over=effects.carry_over,
        note=note,
    )
    return _duel(name, score, (*evidence, part), alpha)


def recall(
    name: str, questions: Sequence[Question], parts: Sequence[Part], *, alpha: float, decided: Decided | None = None
) -> Duel:
    """Return the duel that these parts make, without measuring: what `run_duel` returned after the last of them.

    Raises:
        ValueError: No pair of them counts.
    """
    score = Score(questions, alpha, decided)
    replay(score, parts)
    if not score.pairs:
        raise ValueError(f"{name}: no pair was measured, so there is nothing to recall")
    return _duel(name, score, tuple(parts), alpha)


def _duel(name: str, score: Score, parts: tuple[Part, ...], alpha: float) -> Duel:
    last = parts[-1]
    return Duel(
        name=name,
        pairs=score.pairs,
        **vars(score.wall()),
        iterations=last.iterations,
        seconds=sum(part.seconds for part in parts),
        seed=last.seed,
        alpha=alpha,
        note=last.note,
        cpu=score.cpu(),
        answers=score.answers,
        slow_calls=score.slow_calls,
        position=last.position,
        carry_over=last.carry_over,
        discards=last.discards,
        candidate_seconds=score.candidate_seconds,
        done=score.done,
        parts=parts,
    )


def _side(work: Work | Side) -> Side:
    return InProcess(work) if callable(work) else work


def _question(saved: dict[str, Any]) -> Question:
    return TailQuestion(**saved) if "share" in saved else Question(**saved)


def _tolerance(questions: Sequence[Question]) -> float:
    """Return the least slowdown that must not be missed: where a question leaves room between its bets."""
    return min((1 / each.above - 1 for each in questions if 0 < each.above < each.below), default=math.inf)


def _measure_pairs(
    sides: tuple[Side, Side], iterations: int, coin: random.Random, long: float, *, discards: bool
) -> list[Pair]:
    """Measure pairs for `long` seconds, from 1 to MAX_UNCHECKED; with `discards` a call precedes each batch."""
    began = time.monotonic()
    pairs: list[Pair] = []
    while len(pairs) < 1 or (len(pairs) < MAX_UNCHECKED and time.monotonic() - began < long):
        reference_first = coin.random() < 0.5
        batches = []
        for side in sides if reference_first else reversed(sides):
            if discards:
                side.call()
            batches.append(side.batch(iterations))
        reference, candidate = batches if reference_first else reversed(batches)
        pairs.append(Pair(reference, candidate, reference_first))
    return pairs
