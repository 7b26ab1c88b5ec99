"""The questions for a duel and the verdicts from its answers: floors, saved runs, other revisions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..compare.confirm import Confirmation
from ..measure.bets import Answer, Clock, Question
from ..measure.duel import Duel
from ..measure.profile import Growth
from ..measure.score import Estimate
from ..measure.tail import TailQuestion
from .acknowledged import Acknowledged, admission, bound_questions
from .reasons import Reason

Verdict: TypeAlias = Literal["faster", "same", "slower", "inconclusive"]
FloorVerdict: TypeAlias = Literal["holds", "broken", "unproven"]

# A saved ratio comes from another day: kernel, caches and noisy neighbours affect the two sides of a duel differently.
# Runs of nearly one tree in one afternoon had ratios of 75 to 159 and 2.8 to 7.0 for the counter's threads, and 40 to
# 172 for a loader, as one noisy neighbour came and went (AMD EPYC Turin (Zen 5), two shared cores, 2026-11-23). So a
# saved ratio gets a factor of three. Slowdowns of a few per cent need two revisions in one run.
SAVED_FACTOR = 3.0

# A candidate is slower than another revision if it is proven more than 1 % slower. The bet against a slowdown of the
# tolerance (--tolerance, 3 %) runs at the same time, and the first bet to be won ends the duel.
LEAST_SLOWDOWN = 0.01

# A candidate that is the same has less than this many more slow calls than the other revision, as a share of all calls,
# or the pairs do not suffice to say so: that takes 120 to 150 of them.
SLOW_CALLS = 0.10

# A start is slower if it is proven to take this many times as long: it varies more than warm work, and takes seconds.
START_FACTOR = 1.5

# A function that grew by less than this share of the largest growth is left out of messages, which are for the few
# functions to look at first.
LEAST_GROWTH = 0.05


def questions(floor: float | None, saved: Duel | None) -> list[Question]:
    """Return the questions: is the ratio above `floor`, and is it as high as in the saved duel, or even higher?

    Raises:
        ValueError: The floor is not a positive number, so any ratio would hold it.
    """
    asked = []
    if floor is not None:
        if not floor > 0:
            raise ValueError(f"a floor is a ratio above 0, not {floor}")
        asked.append(Question("floor", above=floor, below=floor))
    if saved is not None:
        low, high = saved.interval[0] / SAVED_FACTOR, saved.interval[1] * SAVED_FACTOR
        asked.append(Question("saved", above=low, below=low))
        asked.append(Question("improved", above=high, below=high, needed=False))
    return asked


def revision_questions(
    tolerance: float, blind: float, *, cpu: bool = True, bound: float | None = None
) -> list[Question]:
    """Return the questions about another revision, the reference: is the candidate slower, and if not, is it faster?

    A slowdown shows in the median of the pairs, or in more slow calls ("tail").

    Args:
        tolerance: the slowdown that must not be missed, as a share: 0.03 is 3 %.
        blind: the slowdown of wall time, as a share, that the pairs must rule out in any case.
        cpu: whether CPU time counts as well: not for work that waits, polls or spins.
        bound: of an acknowledged slowdown, as a share: is the candidate within it? None if there is none.

    Raises:
        ValueError: The tolerance does not exceed LEAST_SLOWDOWN, or `blind` is less than the tolerance.
    """
    if not tolerance > LEAST_SLOWDOWN:
        raise ValueError(
            f"the tolerance is more than {LEAST_SLOWDOWN:.0%}, the least slowdown that is called slower, "
            f"not {tolerance:.3g}"
        )
    if not blind >= tolerance:
        raise ValueError(f"the blind limit is at least the tolerance, {tolerance:.3g}, not {blind:.3g}")
    same, slower = 1 / (1 + tolerance), 1 / (1 + LEAST_SLOWDOWN)
    asked: list[Question] = [
        Question("revision", above=same, below=slower, scores=True),
        Question("blind", above=1 / (1 + blind), below=0),
        Question("faster", above=1 + LEAST_SLOWDOWN, below=0, needed=False),
        TailQuestion("tail", above=slower, below=slower, needed=False, share=SLOW_CALLS),
    ]
    if cpu:
        asked.append(Question("cpu", above=same, below=slower, clock="cpu", scores=True))
    if bound is not None:
        asked += bound_questions(bound, cpu=cpu, scores=True, slow_calls=SLOW_CALLS)
    return asked


def start_questions(bound: float | None = None) -> list[Question]:
    """Return the questions about the start of a process: does it take START_FACTOR times as long, and if not, less?

    Starts are long and few, so the two bets of the first question are about one limit: the fewest pairs prove it.
    """
    limit = 1 / START_FACTOR
    asked: list[Question] = [
        Question("revision", above=limit, below=limit),
        Question("faster", above=START_FACTOR, below=0, needed=False),
    ]
    return asked if bound is None else [*asked, *bound_questions(bound, cpu=False, scores=False, slow_calls=None)]


def revision_decided(answers: Mapping[str, Answer]) -> bool:
    """Return whether the answers to `revision_questions` suffice for a verdict, and to say if a bound admits it."""
    verdict = _revision_verdict(answers)
    return verdict != "inconclusive" and not (verdict == "slower" and admission(answers) == "unproven")


def revision_verdict(duel: Duel) -> Verdict | None:
    """Return the verdict of a duel with `revision_questions`, or None for another duel."""
    if "revision" not in duel.answers:
        return None
    return _revision_verdict(duel.answers)


def _revision_verdict(answers: Mapping[str, Answer]) -> Verdict:
    """Slower by either clock, or by slow calls, is slower.

    The same by CPU time is the same if wall time is not far off and its bet on slower has gained nothing: what one core
    does while others wait is a smaller share of CPU time than of wall time. Where the bets on slow calls stay open, the
    verdict stands without them, see `slow_calls_open`.
    """
    verdicts = {name: answer.verdict for name, answer in answers.items()}
    if "below" in (verdicts["revision"], verdicts.get("cpu"), verdicts.get("tail")):
        return "slower"
    if verdicts["faster"] == "above":
        return "faster"
    if verdicts["revision"] == "above":
        return "same"
    same_by_cpu = verdicts.get("cpu") == verdicts.get("blind") == "above"
    return "same" if same_by_cpu and answers["revision"].log_e_below <= 0 else "inconclusive"


def slower_by_slow_calls(duel: Duel) -> bool:
    """Return whether slow calls alone prove the candidate slower."""
    return duel.answer("tail") == "below" and "below" not in (duel.answer("revision"), duel.answer("cpu"))


def slow_calls_open(duel: Duel) -> float | None:
    """Return the share of additional slow calls that a candidate called same or faster may have; None if it is small.

    Small is less than SLOW_CALLS, which is what is asked.
    """
    undecided = revision_verdict(duel) in ("same", "faster") and duel.answer("tail") == "open"
    return duel.slow_calls if undecided else None


def deciding_clock(duel: Duel) -> Clock:
    """Return the clock on which a verdict about another revision rests; on both, or none, it is the wall clock."""
    verdict = revision_verdict(duel)
    decisive = {"slower": "below", "same": "above"}.get(verdict or "")
    by_cpu = duel.answer("cpu") == decisive and duel.answer("revision") != decisive
    return "cpu" if decisive and by_cpu else "wall"


def by_clock(duel: Duel, clock: Clock) -> Estimate:
    """Return a duel's numbers by one clock.

    Raises:
        ValueError: It was not measured by that clock.
    """
    if clock == "wall":
        return duel
    if duel.cpu is None:
        raise ValueError(f"{duel.name} has no CPU time")
    return duel.cpu


def detectable(duel: Duel, clock: Clock = "wall") -> float:
    """Return the smallest slowdown, as a share, that the pairs rule out; infinite if there were too few pairs."""
    low = by_clock(duel, clock).confidence_sequence[0]
    return 1 / low - 1 if low > 0 else math.inf


@dataclass(frozen=True)
class JudgedDuel:
    """A duel with what it is judged by.

    Attributes:
        test: the test's id.
        duel: the result.
        floor: the least ratio; None without one.
        saved: the duel of a saved run; None without one.
        run: the name of that run.
    """

    test: str
    duel: Duel
    floor: float | None = None
    saved: Duel | None = None
    run: str = ""

    @property
    def floor_verdict(self) -> FloorVerdict | None:
        """Return "holds", "broken" (disproved) or "unproven"; None without a floor."""
        verdicts: dict[str, FloorVerdict] = {"above": "holds", "below": "broken", "open": "unproven"}
        return verdicts.get(self.duel.answer("floor") or "")

    @property
    def saved_verdict(self) -> Verdict | None:
        """Return the verdict against the saved duel; None without one."""
        if self.duel.answer("improved") == "above":
            return "faster"
        verdicts: dict[str, Verdict] = {"above": "same", "below": "slower", "open": "inconclusive"}
        return verdicts.get(self.duel.answer("saved") or "")

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Return why the test fails; empty if it passes."""
        reasons = {
            Reason.FLOOR_BROKEN: self.floor_verdict == "broken",
            Reason.FLOOR_UNPROVEN: self.floor_verdict == "unproven",
            Reason.SLOWER_THAN_SAVED: self.saved is not None and self.saved_verdict == "slower",
        }
        return tuple(reason for reason, applies in reasons.items() if applies)


@dataclass(frozen=True)
class RevisionRow:
    """One benchmark against itself at another revision.

    Attributes:
        name: of the benchmark, in the report.
        test: its id.
        revision: the other one, as the user named it, with its commit.
        verdict: "new" if the other revision does not have it, "unsupported" if this machine cannot run it.
        duel: the result; None without a duel.
        tolerance: the slowdown that must not be missed, as a share.
        blind: the slowdown of wall time that must be ruled out in any case, as a share.
        confirmation: the verdicts of fresh processes; None if none was asked.
        reason: why this machine cannot run it.
        growth: of the functions of both sides, the largest first; empty unless it is slower.
        unprofiled: why it is slower and has no profile.
        acknowledged: what an entry says of it if it is slower; None without an entry.
    """

    name: str
    test: str
    revision: str
    verdict: Verdict | Literal["new", "unsupported"]
    duel: Duel | None = None
    tolerance: float = 0.0
    blind: float = 0.0
    confirmation: Confirmation | None = None
    reason: str = ""
    growth: tuple[Growth, ...] = ()
    unprofiled: str = ""
    acknowledged: Acknowledged | None = None

    @property
    def grown(self) -> tuple[Growth, ...]:
        """Return the functions that grew, without those that grew by less than LEAST_GROWTH of the largest growth."""
        least = LEAST_GROWTH * max((each.seconds for each in self.growth), default=0.0)
        return tuple(each for each in self.growth if each.seconds > 0 and each.seconds >= least)

    def reasons(self, *, strict: bool) -> tuple[Reason, ...]:
        """Return why the test fails; empty if it passes.

        An inconclusive duel fails if it was blind: its pairs do not rule out even a slowdown of `blind`. With `strict`
        each fails.
        """
        if self.verdict == "slower" and self.acknowledged and self.acknowledged.admitted:
            return ()
        if self.verdict == "slower":
            return (Reason.SLOWER,)
        if self.verdict != "inconclusive":
            return ()
        if (
            self.duel is not None
            and revision_verdict(self.duel) == "inconclusive"
            and self.duel.answer("blind") == "open"
        ):
            return (Reason.BLIND,)
        return (Reason.INCONCLUSIVE,) if strict else ()
