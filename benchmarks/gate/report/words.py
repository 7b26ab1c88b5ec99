"""Numbers and findings as text: the message of a failed test, the remark below a table."""

import math
from collections.abc import Iterator, Sequence

from ..compare.confirm import Confirmation
from ..judge.acknowledged import Acknowledged
from ..judge.completeness import Completeness
from ..judge.memory import MIB, MemoryRow
from ..judge.reasons import Reason
from ..judge.rules import (
    SAVED_FACTOR,
    JudgedDuel,
    RevisionRow,
    by_clock,
    deciding_clock,
    detectable,
    slow_calls_open,
    slower_by_slow_calls,
)
from ..measure.bets import Clock
from ..measure.duel import Duel
from ..measure.evalue import log_evalue
from ..measure.profile import Growth
from ..measure.share import Share
from ..measure.tail import SLOW, TailAnswer
from .findings import Note

CLOCK_NAMES: dict[Clock, str] = {"wall": "wall", "cpu": "CPU"}
PROFILE_LINES = 5  # functions in the message of a failed test


def duel_failure(row: JudgedDuel) -> str | None:
    """Return why the test fails and what to do about it, or None if it passes."""
    texts = {
        Reason.FLOOR_BROKEN: lambda: (
            f"the floor is {number(row.floor)} times. Find what made the candidate slower, or the reference faster. If "
            "the floor is too high for this machine, lower it and note ratio, machine and date."
        ),
        Reason.FLOOR_UNPROVEN: lambda: (
            f"the floor of {number(row.floor)} times is neither proven nor disproved: in {row.duel.seconds:.1f} s "
            f"{limits(row.duel)}. Give it more time (--budget SECONDS) or a quieter machine, or lower the floor."
        ),
        Reason.SLOWER_THAN_SAVED: lambda: _slower_than_saved(row),
    }
    if not row.reasons:
        return None
    return f"{row.duel.name}: {estimate(row.duel)}; {' Also, '.join(texts[reason]() for reason in row.reasons)}"


def _slower_than_saved(row: JudgedDuel) -> str:
    if row.saved is None:
        raise AssertionError("only a saved duel can be faster")
    low, high = row.saved.interval
    return (
        f"the saved run {row.run} has {number(row.saved.ratio)} times ({number(low)} to {number(high)}), and a ratio "
        f"below {number(low / SAVED_FACTOR)}, 1/{SAVED_FACTOR:g} of that, is proven. Find what made it slower. If the "
        "change is intended, save a new run (make baseline) and commit it with the reason."
    )


def memory_failure(row: MemoryRow) -> str | None:
    """Return why the test fails and what to do about it, or None if it passes."""
    texts = {
        Reason.CEILING_BROKEN: lambda: (
            f"the ceiling is {row.limit:g} times. Find what holds more memory, or raise the ceiling and note why."
        ),
        Reason.MORE_MEMORY_THAN_SAVED: lambda: _more_than_saved(row),
        Reason.MORE_MEMORY: lambda: (
            f"the reference is {row.revision}, and so it was in other fresh processes. Find what holds more memory, or "
            f"what a call does not give back. {_admission(row.acknowledged)}"
        ),
    }
    if not row.reasons:
        return None
    return (
        f"{row.name}: peak memory of the candidate is {row.candidate / MIB:.1f} MiB, {row.ratio:.2f} times the "
        f"reference's {row.reference / MIB:.1f} MiB; {' Also, '.join(texts[reason]() for reason in row.reasons)}"
    )


def share_failure(name: str, share: Share, alpha: float) -> str | None:
    """Return why a proof of how often something holds fails, and what to do about it, or None if it holds."""
    if share.verdict == "above":
        return None
    observed = f"{name}: true {share.successes:g} times of {share.trials}"
    if share.verdict == "below":
        return f"{observed}, which proves that it is less than {share.least:.2%}, with an error of {alpha:.2g}."
    return (
        f"{observed}, which neither proves nor disproves {share.least:.2%}, with an error of {alpha:.2g}. Draw more "
        "outcomes, or give it more time."
    )


def _more_than_saved(row: MemoryRow) -> str:
    if row.saved is None:
        raise AssertionError("only saved peaks can be exceeded")
    return (
        f"the saved run {row.run} has {row.saved.candidate / MIB:.1f} MiB, "
        f"{row.saved.candidate / row.saved.reference:.2f} times its reference's. Find what takes more. If the change "
        "is intended, save a new run (make baseline) and commit it with the reason."
    )


def revision_failure(row: RevisionRow, *, strict: bool) -> str | None:
    """Return why the test fails and what to do about it, or None if it passes."""
    reasons = row.reasons(strict=strict)
    if Reason.SLOWER in reasons and row.duel is not None:
        confirmed = f"; {confirmation(row.confirmation)}" if row.confirmation else ""
        text = (
            f"{row.name} is slower than at {row.revision}: {slowdown(row.duel)}{confirmed}. Find what made it slower "
            f"(--benchmark-cprofile, --torch-profile). {_admission(row.acknowledged)}"
        )
        return "\n".join([text, *_profile(row)])
    if Reason.BLIND in reasons:
        return (
            f"{row.name} against {row.revision} is blind: {evidence(row)}, and a slowdown of {row.blind:.0%} "
            "must be. Use a quieter machine; if the work itself varies as much, mark the test gate(blind=PERCENT)"
        )
    if Reason.INCONCLUSIVE in reasons:
        return f"{row.name} against {row.revision} is inconclusive, and --strict demands a verdict: {evidence(row)}"
    return None


def acknowledged(found: Acknowledged) -> str:
    """Return what an entry of the acknowledged slowdowns admits, and what became of it."""
    entry = found.entry
    states = {
        "admitted": f"acknowledged, up to {_share(entry.bound)} and until {entry.expires}",
        "exceeded": f"it exceeds the acknowledged {_share(entry.bound)}",
        "unproven": f"it is not proven to be within the acknowledged {_share(entry.bound)}",
        "expired": f"its acknowledgement has expired on {entry.expires}",
        "spent": "the other revision has its acknowledgement already, so it is for an earlier slowdown",
        "not needed": f"not slower; up to {_share(entry.bound)} is acknowledged until {entry.expires}",
        "not judged": f"no verdict; up to {_share(entry.bound)} is acknowledged until {entry.expires}",
    }
    by = f" ({found.change} by this change)" if found.change else ""
    return f"{states[found.state]}{by}: {entry.reason.rstrip('.')}"


def verdict(row: RevisionRow | MemoryRow) -> str:
    """Return a verdict against another revision, and whether it is acknowledged."""
    of_row = row.verdict if isinstance(row, RevisionRow) else row.revision_verdict or ""
    return f"{of_row}, acknowledged" if row.acknowledged and row.acknowledged.admitted else of_row


def _share(bound: float) -> str:
    return f"{bound * 100:g} %"


def _admission(found: Acknowledged | None) -> str:
    """Return how an intended slowdown is admitted, or why an entry does not admit it."""
    if found is None:
        return (
            "If it is intended, acknowledge it for the review, with a bound, a reason and a date: an entry in the file "
            "that the ini option gate_acknowledged names."
        )
    remedies = {
        "exceeded": "Find the rest, or raise the bound for the review.",
        "unproven": "Give it more time, use a quieter machine, or raise the bound for the review.",
        "expired": "Repair it now, or renew the entry for the review.",
        "spent": "Repair it, or change the entry (its reason, bound or date) for the review.",
    }
    return f"For the review: {acknowledged(found)}. {remedies.get(found.state, '')}".strip()


def _profile(row: RevisionRow) -> Iterator[str]:
    """Yield which functions grew most, or why that is unknown."""
    if row.unprofiled:
        yield no_profile(row)
    elif row.growth and not row.grown:
        yield "No function grew in the profile of both sides."
    elif row.grown:
        yield "What grew, per call of the work and by a profiler, which shows where and not how much:"
        for each in row.grown[:PROFILE_LINES]:
            there, here, calls_there, calls_here = profile_cells(each)
            yield f"  {each.function}: {there} ms there, {here} ms here; calls: {calls_there} there, {calls_here} here"


def no_profile(row: RevisionRow) -> str:
    """Return why nothing is known of the functions that grew."""
    return f"There is no profile of both sides: {row.unprofiled}"


def profile_cells(growth: Growth) -> tuple[str, str, str, str]:
    """Return a function's milliseconds there and here, and its calls there and here, per call of the work."""
    there, here = (f"{seconds * 1e3:,.3f}" for seconds in (growth.reference_seconds, growth.candidate_seconds))
    return there, here, quantity(growth.reference_calls, ""), quantity(growth.candidate_calls, "")


def confirmation(result: Confirmation) -> str:
    """Return the verdicts of the fresh processes in words."""
    count = f"{result.slower} of {len(result.verdicts)} fresh processes"
    if result.agrees:
        return f"confirmed in {count}"
    others = sorted(set(result.verdicts) - {"slower"})
    return f"slower in this process, and in {count} ({' or '.join(others)} in the others): memory layout, or chance"


def remark(row: RevisionRow) -> str:
    """Return how a confirmation went, or why nothing was measured; empty if there is nothing to say."""
    return "; ".join(
        filter(None, (confirmation(row.confirmation) if row.confirmation else row.reason, _about_order_and_tail(row)))
    )


def _about_order_and_tail(row: RevisionRow) -> str:
    """Return which slow calls were not ruled out, and whether the order of the batches mattered."""
    if row.duel is None:
        return ""
    share = slow_calls_open(row.duel)
    parts = [] if share is None else [f"slow calls: up to {math.ceil(round(share * 100, 3))} % more not ruled out"]
    if row.duel.discards:
        effects = [
            f"{name} {effect:+.1%}"
            for name, effect in (("first of a pair", row.duel.position), ("after the candidate", row.duel.carry_over))
            if effect is not None
        ]
        parts.append(
            f"a call was discarded before each batch, because the order changes the times ({', '.join(effects)})"
        )
    return "; ".join(parts)


def evidence(row: RevisionRow) -> str:
    """Return what an inconclusive duel proves, and how to get a verdict."""
    if row.duel is None:
        return remark(row)
    least = detectable(row.duel)
    finest = f"a slowdown of {least:.1%} was detectable" if least < math.inf else "no slowdown was detectable"
    return "; ".join(
        filter(
            None,
            (remark(row), f"in {row.duel.seconds:.0f} s {finest}", "--gate-minutes or --budget gives it more time"),
        )
    )


def slowdown(duel: Duel) -> str:
    """Return by how much the candidate is slower, by the clock or the slow calls that prove it, with the evidence."""
    if slower_by_slow_calls(duel):
        return slow_calls(duel)
    clock = deciding_clock(duel)
    numbers = by_clock(duel, clock)
    low, high = (1 / ratio - 1 for ratio in reversed(numbers.interval))
    wall = f"; wall time {1 / duel.ratio - 1:+.1%}" if clock == "cpu" else ""
    seconds = f"{duration(numbers.reference)} there, {duration(numbers.candidate)} here"
    return (
        f"{CLOCK_NAMES[clock]} time {1 / numbers.ratio - 1:+.1%} ({percent(numbers.coverage)} interval {low:+.1%} to "
        f"{high:+.1%}, {duel.pairs} pairs, {seconds}{wall})"
    )


def slow_calls(duel: Duel) -> str:
    """Return how many more slow calls the candidate has, by the limit that shows it best."""
    answer = duel.answers["tail"]
    if not isinstance(answer, TailAnswer):
        raise TypeError("only a tail answer counts slow calls")
    limit, more, fewer = max(
        zip(SLOW, answer.more, answer.fewer, strict=True), key=lambda counts: log_evalue(counts[1], sum(counts[1:]))
    )
    return (
        f"by its slow calls, of more than {limit:g} times the median: only here in {more} of {answer.pairs} pairs, "
        f"only there in {fewer} (median wall time {1 / duel.ratio - 1:+.1%})"
    )


def estimate(duel: Duel) -> str:
    """Return the result in one sentence: which side is faster, by how much, and the evidence."""
    low, high = duel.interval
    if duel.ratio >= 1:
        result = f"candidate is {number(duel.ratio)} times faster than the reference"
    else:
        result = f"candidate is slower than the reference, {number(duel.ratio)} times as fast"
    return (
        f"{result} (reference {duration(duel.reference)}, candidate {duration(duel.candidate)}, "
        f"{percent(duel.coverage)} interval {number(low)} to {number(high)}, {duel.pairs} pairs)"
    )


def limits(duel: Duel) -> str:
    """Return the limits that the pairs prove for the ratio."""
    low, high = duel.confidence_sequence
    return f"{duel.pairs} pairs prove a ratio between {number(low)} and {number(high)} and nothing finer"


def incomplete(result: Completeness) -> Iterator[str]:
    """Yield one sentence for each thing that is missing."""
    for absence in result.missing:
        yield (
            f"{absence.test} is {absence.where} and not here: removed or renamed? If that is intended, pass "
            f"--removed '{absence.test.partition('::')[2]}'"
        )
    for absence in result.moved:
        yield (
            f"{absence.test} belongs to the quick run {absence.where}, and here to the full one only, so it was not "
            f"measured. If that is intended, pass --removed '{absence.test.partition('::')[2]}'"
        )
    for name in result.unused:
        yield f"--removed {name!r} has no effect: no benchmark of that name is missing, and none does less"
    for absence in result.skipped:
        yield f"{absence.test} is {absence.where} and was skipped here: {absence.reason}"
    if result.nothing_ran:
        yield "no benchmark ran: a comparison was requested, and nothing was measured"


def notes_of_a_test(title: str, notes: Sequence[Note], width: float) -> Iterator[str]:
    """Yield a test's numbers in one line, or, if that is wider than `width`, in one line each."""
    numbers = [f"{note.name} {quantity(note.value, note.unit)}" for note in notes]
    line = f"{title}: {'; '.join(numbers)}"
    yield from [line] if len(line) <= width else [f"{title}:", *(f"    {number_}" for number_ in numbers)]


def quantity(value: float, unit: str) -> str:
    """Return a number with its unit; seconds ("s") and bytes ("B") are scaled, and a share ("share") is in per cent."""
    if unit == "s":
        return duration(value)
    if unit == "B":
        return f"{value / MIB:.1f} MiB"
    if unit == "share":
        return f"{value:.2%}"
    text = f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
    return f"{text} {unit}".strip()


def number(value: float | None) -> str:
    """Return a ratio with three digits, and without decimals from a hundred up."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def percent(share: float) -> str:
    """Return a coverage in whole per cent, rounded down so that it claims no more than there is."""
    return f"{int(share * 100)} %"


def duration(seconds: float) -> str:
    """Return a time in a suitable unit, with three digits."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}" if seconds * scale < 1000 else f"{seconds * scale:,.0f} {unit}"
    return f"{seconds * 1e9:.3g} ns"
