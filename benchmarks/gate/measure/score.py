"""What the pairs of a duel add up to, on each clock: times, ratios, answers."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .bets import Answer, Clock, Question, alpha_of_a_bet
from .evalue import confidence_sequence, median_interval
from .tail import RunningMedian, TailAnswer
from .timing import Batch

# Once everything else is decided, a duel goes on for the bets on slow calls: for so many seconds of batches, then as
# long as the bet that the candidate has more of them is ahead by this factor. 5 s are 100 pairs of calls of 25 ms; to
# rule out 10 % more slow calls takes some 130 pairs.
TAIL_SECONDS = 5.0
TAIL_AHEAD = 10.0

Decided = Callable[[Mapping[str, Answer]], bool]


@dataclass(frozen=True)
class Estimate:
    """How many times faster the candidate is by one clock.

    Attributes:
        ratio: median of the paired ratios, time(reference) / time(candidate).
        interval: (low, high) for the median ratio, see `evalue.median_interval`.
        coverage: of the interval, as a share.
        confidence_sequence: (low, high), limits for the median ratio with the error rate of this duel's bets, valid
            however often the pairs were looked at (`evalue.confidence_sequence`).
        reference: median seconds per call.
        candidate: median seconds per call.
    """

    ratio: float
    interval: tuple[float, float]
    coverage: float
    confidence_sequence: tuple[float, float]
    reference: float
    candidate: float

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Estimate":
        """Read what `dataclasses.asdict` made of an estimate; saved runs up to 0004 say `told`.

        Raises:
            KeyError, TypeError, ValueError: The data is something else.
        """
        limits = saved["confidence_sequence" if "confidence_sequence" in saved else "told"]
        (low, high), (least, most) = map(float, saved["interval"]), map(float, limits)
        numbers = (saved[name] for name in ("ratio", "coverage", "reference", "candidate"))
        ratio, coverage, reference, candidate = map(float, numbers)
        return cls(ratio, (low, high), coverage, (least, most), reference, candidate)


class Score:
    """The pairs so far, and the answers that they give.

    Attributes:
        alpha: the error that each bet may have.
        answers: by question.
        pairs: how many were added.
    """

    def __init__(self, questions: Sequence[Question], alpha: float, decided: Decided | None = None) -> None:
        """Take the arguments of `run_duel`."""
        self.alpha = alpha_of_a_bet(questions, alpha)
        self.answers = {question.name: question.answer() for question in questions}
        self._decided = decided or all_needed
        self._begin()
        self.begin_part(1)

    def begin_part(self, iterations: int) -> None:
        """Begin with batches of so many calls. What is a slow call is known anew; all else goes on."""
        self._iterations = iterations
        self._recent = RunningMedian()

    def begin_anew(self) -> None:
        """Forget the pairs, as `Answer.begin_anew` does, except in the bets on slow calls."""
        for name, answer in self.answers.items():
            if not isinstance(answer, TailAnswer):
                self.answers[name] = answer.begin_anew()
        self._begin()

    def _begin(self) -> None:
        self.pairs = 0
        self._settled: int | None = None  # the number of pairs that decided
        self._since = 0.0  # seconds of batches since then
        self._seconds: dict[Clock, list[tuple[float, float]]] = {"wall": [], "cpu": []}  # per call
        self._ratios: dict[Clock, list[float]] = {"wall": [], "cpu": []}
        self._deviations: dict[Clock, float] = {"wall": math.inf, "cpu": math.inf}

    def add(self, reference: Batch, candidate: Batch) -> None:
        """Add a pair."""
        self.pairs += 1
        self._seconds["wall"].append((reference.wall / self._iterations, candidate.wall / self._iterations))
        self._seconds["cpu"].append((reference.cpu / self._iterations, candidate.cpu / self._iterations))
        self._ratios["wall"].append(reference.wall / candidate.wall)
        self._ratios["cpu"].append(reference.cpu / candidate.cpu if candidate.cpu > 0 else math.nan)
        median = self._recent.before(reference.wall, candidate.wall)
        for answer in self.answers.values():
            if isinstance(answer, TailAnswer):
                if median is not None:
                    answer.look_at(reference.wall / median, candidate.wall / median, self.alpha)
            else:
                clock = answer.question.clock
                answer.look(self._ratios[clock][-1], self.pairs, self.alpha, self._deviations[clock])
        if self.pairs >= 4 and self.pairs.bit_count() == 1:  # each time that the pairs have doubled
            self._deviations = {clock: _deviation(ratios) for clock, ratios in self._ratios.items()}
        if self._settled is not None:
            self._since += reference.wall + candidate.wall
        elif self._decided(self.answers):
            self._settled = self.pairs

    @property
    def done(self) -> bool:
        """Return whether the pairs suffice, and no further question is about to be answered.

        The bets on slow calls are waited for, as TAIL_SECONDS says, unless the candidate is slower anyway, by at least
        the ratio that its times are multiplied by before a call is called slow.
        """
        if self._settled is None:
            return False
        slower = [answer.question.below for answer in self.answers.values() if answer.verdict == "below"]
        near = False
        for answer in self.answers.values():
            if answer.verdict != "open" or answer.question.needed:
                continue
            if not isinstance(answer, TailAnswer):
                near = near or answer.log_e_above > 0
            elif min(slower, default=math.inf) > answer.question.below and (
                self._since < TAIL_SECONDS or answer.log_e_below > math.log(TAIL_AHEAD)
            ):
                return False
        return not near or self.pairs >= 2 * self._settled

    @property
    def evidence(self) -> float:
        """Return how far the bets are, as the share of the logarithm of 1/alpha that the question furthest back has."""
        open_ = [answer for answer in self.answers.values() if answer.question.needed and answer.verdict == "open"]
        ahead = (max(answer.log_e_above, answer.log_e_below, 0.0) for answer in open_)
        return min(ahead, default=-math.log(self.alpha)) / -math.log(self.alpha)

    @property
    def slow_calls(self) -> float | None:
        """Return the share of additional slow calls that the pairs rule out; None if that was not asked."""
        shares = [answer.ruled_out(self.alpha) for answer in self.answers.values() if isinstance(answer, TailAnswer)]
        return shares[0] if shares else None

    def wall(self) -> Estimate:
        """Return the estimate by the wall clock."""
        return self._estimate("wall")

    def cpu(self) -> Estimate | None:
        """Return the estimate by the CPU clock; None if that is too coarse on this system."""
        return self._estimate("cpu") if all(map(math.isfinite, self._ratios["cpu"])) else None

    @property
    def candidate_seconds(self) -> list[float]:
        """Return the candidate's wall seconds per call of each batch, in the order measured."""
        return [candidate for _, candidate in self._seconds["wall"]]

    def _estimate(self, clock: Clock) -> Estimate:
        ratios = self._ratios[clock]
        low, high, coverage = median_interval(ratios)
        reference, candidate = (statistics.median(times) for times in zip(*self._seconds[clock], strict=True))
        limits = confidence_sequence(ratios, self.alpha)
        return Estimate(statistics.median(ratios), (low, high), coverage, limits, reference, candidate)


def _deviation(ratios: Sequence[float]) -> float:
    """Return the median deviation of the ratios' logarithms from their median; infinite if a ratio is not a number."""
    if not all(0 < ratio < math.inf for ratio in ratios):
        return math.inf
    logs = [math.log(ratio) for ratio in ratios]
    median = statistics.median(logs)
    return statistics.median(abs(log - median) for log in logs)


def all_needed(answers: Mapping[str, Answer]) -> bool:
    """Return whether every needed question is answered."""
    return all(answer.verdict != "open" for answer in answers.values() if answer.question.needed)
