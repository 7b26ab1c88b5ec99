"""What is asked of a duel, and what its answers mean: floors, saved runs, and the sentence a failed test ends with."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..compare.saved import Peaks
from ..measure.duel import Duel, Question

MIB = 1024 * 1024
Verdict: TypeAlias = Literal["faster", "same", "slower", "inconclusive"]

# A saved ratio comes from another day: kernel, caches and neighbours move the two sides of a duel differently. Runs
# of nearly one tree in one afternoon (AMD EPYC Turin (Zen 5), two shared cores, 2026-11-23) had ratios of 75 to 159
# and 2.8 to 7.0 for the counter's threads, and 40 to 172 for a loader, as one neighbour came and went. So a saved
# ratio gets a factor of three, which one busy neighbour does not use up. Slowdowns of a few per cent are for
# comparing revisions in one run, never for this.
SAVED_FACTOR = 3.0

# Slower than another revision is who is proven more than 1 % slower; the bet against being slower by the tolerance
# (--tolerance, 3 %) runs at the same time, and the first of them to be won ends the duel.
LEAST_SLOWDOWN = 0.01


def questions(floor: float | None, saved: Duel | None) -> list[Question]:
    """Return what to ask: is the ratio above `floor`, and is it still what the saved duel found, or even better?

    Raises:
        ValueError: for a floor that is not a positive number, which anything would hold.
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


def revision_questions(tolerance: float) -> list[Question]:
    """Return what to ask about another revision, the reference: is the candidate slower, and if not, is it faster?

    Args:
        tolerance: the slowdown that must not be missed, as a share: 0.03 is 3 %.

    Raises:
        ValueError: for a tolerance that does not exceed the slowdown that is let pass.
    """
    if not tolerance > LEAST_SLOWDOWN:
        raise ValueError(
            f"the tolerance is more than {LEAST_SLOWDOWN:.0%}, under which nothing is slower, not {tolerance:.3g}"
        )
    return [
        Question("revision", above=1 / (1 + tolerance), below=1 / (1 + LEAST_SLOWDOWN)),
        Question("faster", above=1 + LEAST_SLOWDOWN, below=1 + LEAST_SLOWDOWN, needed=False),
    ]


def revision_verdict(duel: Duel) -> Verdict | None:
    """Return what a duel that was asked `revision_questions` says, or None where it was not."""
    if duel.answer("revision") == "below":
        return "slower"
    if duel.answer("faster") == "above":
        return "faster"
    words: dict[str, Verdict] = {"above": "same", "open": "inconclusive"}
    return words.get(duel.answer("revision") or "")


def detectable(duel: Duel) -> float:
    """Return the slowdown, as a share, that the pairs rule out: a greater one would have been told.

    Infinite where there were too few pairs to tell anything.
    """
    low = duel.told[0]
    return 1 / low - 1 if low > 0 else math.inf


@dataclass(frozen=True)
class Judged:
    """A duel with what it was judged by: the floor, and the saved duel with the name of the run it is from."""

    duel: Duel
    floor: float | None = None
    saved: Duel | None = None
    run: str = ""

    @property
    def floor_verdict(self) -> str | None:
        """Return "holds", "broken" (disproved) or "unproven"; None without a floor."""
        words = {"above": "holds", "below": "broken", "open": "unproven"}
        return words.get(self.duel.answer("floor") or "")

    @property
    def saved_verdict(self) -> str | None:
        """Return "faster", "same", "slower" or "inconclusive"; None without a saved duel."""
        if self.duel.answer("improved") == "above":
            return "faster"
        words = {"above": "same", "below": "slower", "open": "inconclusive"}
        return words.get(self.duel.answer("saved") or "")

    def failure(self) -> str | None:
        """Return why the test fails and what to do about it, or None where it does not."""
        complaints = []
        if self.floor_verdict == "broken":
            complaints.append(
                f"the floor is {number(self.floor)} times. Find what made the candidate slower, or the reference "
                "faster. A floor that claims too much for this machine is lowered, with ratio, machine and date noted."
            )
        if self.floor_verdict == "unproven":
            complaints.append(
                f"the floor of {number(self.floor)} times is neither proven nor disproved: in "
                f"{self.duel.seconds:.1f} s {bounds(self.duel)}. Give it longer (--budget SECONDS), give it a quieter "
                "machine, or set the floor further below the ratio."
            )
        if self.saved and self.saved_verdict == "slower":
            low, high = self.saved.interval
            complaints.append(
                f"the saved run {self.run} has {number(self.saved.ratio)} times ({number(low)} to {number(high)}), and "
                f"less than {number(low / SAVED_FACTOR)}, which is 1/{SAVED_FACTOR:g} of that, is proven. Find "
                "what made it slower; if that is meant, save a new run (make baseline) and commit it with the reason."
            )
        return f"{self.duel.name}: {in_words(self.duel)}; {' Also, '.join(complaints)}" if complaints else None


# Peak memory hardly varies, but a reference of a few MiB does, and so does the ratio to it (7.5 and 11.7 MiB were seen
# in one hour, AMD EPYC (Zen 5), 2026-11-23). More memory than saved is what exceeds the ratio and the bytes by a
# quarter, and the bytes by more than allocators and the interpreter keep in stock.
MEMORY_FACTOR = 1.25
MEMORY_NOISE = 4 * MIB


@dataclass(frozen=True)
class Memory:
    """One comparison of peak memory.

    Attributes:
        name: in the report.
        test: its id.
        reference: bytes.
        candidate: bytes.
        limit: the greatest ratio allowed.
        saved: what a saved run has.
        run: the name of that run.
    """

    name: str
    test: str
    reference: int
    candidate: int
    limit: float
    saved: Peaks | None = None
    run: str = ""

    @property
    def ratio(self) -> float:
        """Return candidate / reference."""
        return self.candidate / self.reference

    @property
    def saved_verdict(self) -> Literal["same", "more"] | None:
        """Return whether the candidate takes more memory than in the saved run; None without one."""
        if self.saved is None:
            return None
        more = (
            self.ratio > MEMORY_FACTOR * self.saved.candidate / self.saved.reference
            and self.candidate > MEMORY_FACTOR * self.saved.candidate
            and self.candidate > MEMORY_NOISE + self.saved.candidate
        )
        return "more" if more else "same"

    def failure(self) -> str | None:
        """Return why the test fails and what to do about it, or None where it does not."""
        complaints = []
        if self.ratio > self.limit:
            complaints.append(
                f"the ceiling is {self.limit:g} times. Find what holds on to more memory, or raise the ceiling and say "
                "why beside it."
            )
        if self.saved and self.saved_verdict == "more":
            complaints.append(
                f"the saved run {self.run} has {self.saved.candidate / MIB:.1f} MiB, "
                f"{self.saved.candidate / self.saved.reference:.2f} times its reference's. Find what takes more; if "
                "that is meant, save a new run (make baseline) and commit it with the reason."
            )
        return f"{self}; {' Also, '.join(complaints)}" if complaints else None

    def __str__(self) -> str:
        return (
            f"{self.name}: peak memory of the candidate is {self.candidate / MIB:.1f} MiB, {self.ratio:.2f} times the "
            f"reference's {self.reference / MIB:.1f} MiB"
        )


@dataclass(frozen=True)
class Compared:
    """One benchmark against the same one at another revision.

    Attributes:
        name: of the benchmark, in the report.
        test: its id.
        revision: the other one, in words.
        verdict: "new" where the other revision does not have it, "unsupported" where neither side runs on this machine.
        duel: what was measured; None without a duel.
        tolerance: the slowdown that must not be missed, as a share.
        note: how a confirmation went, or why nothing was measured.
    """

    name: str
    test: str
    revision: str
    verdict: Verdict | Literal["new", "unsupported"]
    duel: Duel | None = None
    tolerance: float = 0.0
    note: str = ""

    def failure(self, *, strict: bool) -> str | None:
        """Return why the test fails and what to do about it, or None where it does not."""
        if self.duel is None or self.verdict in {"same", "faster"}:
            return None
        if self.verdict == "slower":
            return (
                f"{self.name} is slower than at {self.revision}: {slowdown(self.duel)}; {self.note}. Find what made it "
                "slower (--benchmark-cprofile, --torch-profile). If that is meant, say so where the change is reviewed."
            )
        if not strict:
            return None
        return (
            f"{self.name} against {self.revision} is inconclusive, and --strict asks for a verdict: {self.evidence()}"
        )

    def evidence(self) -> str:
        """Return what an inconclusive duel does tell, and how to get more out of it."""
        if self.duel is None:
            return self.note
        told = detectable(self.duel)
        finer = f"a slowdown of {told:.1%} would have been told" if told < math.inf else "no slowdown could be told"
        return "; ".join(filter(None, (self.note, f"in {self.duel.seconds:.0f} s {finer}", "--budget gives it longer")))


def slowdown(duel: Duel) -> str:
    """Return by how much the candidate is slower, with the evidence."""
    low, high = (1 / ratio - 1 for ratio in reversed(duel.interval))
    return (
        f"{1 / duel.ratio - 1:+.1%} ({percent(duel.coverage)} interval {low:+.1%} to {high:+.1%}, {duel.pairs} pairs, "
        f"{duration(duel.reference)} there, {duration(duel.candidate)} here)"
    )


def in_words(duel: Duel) -> str:
    """Return the finding as a sentence: which side is faster, by what, and the evidence."""
    low, high = duel.interval
    if duel.ratio >= 1:
        finding = f"candidate is {number(duel.ratio)} times faster than the reference"
    else:
        finding = f"candidate is slower than the reference, {number(duel.ratio)} times as fast"
    return (
        f"{finding} (reference {duration(duel.reference)}, candidate {duration(duel.candidate)}, "
        f"{percent(duel.coverage)} interval {number(low)} to {number(high)}, {duel.pairs} pairs)"
    )


def bounds(duel: Duel) -> str:
    """Return what the pairs do prove about the ratio, whatever was asked: nothing finer could have been told."""
    low, high = duel.told
    return f"{duel.pairs} pairs tell a ratio between {number(low)} and {number(high)} and nothing finer"


def number(value: float | None) -> str:
    """Return a ratio with three digits, and none after the point from a hundred up."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def percent(share: float) -> str:
    """Return a coverage in whole per cent, rounded down: never more than there is."""
    return f"{int(share * 100)} %"


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it, with three digits."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}" if seconds * scale < 1000 else f"{seconds * scale:,.0f} {unit}"
    return f"{seconds * 1e9:.3g} ns"
