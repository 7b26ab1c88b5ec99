"""The tables of a saved run, in Markdown."""

from collections.abc import Iterable, Iterator, Sequence

from benchmarks.gate.judge.memory import MIB
from benchmarks.gate.report.words import number, percent

from .saved import Duel, Run, Step

__all__ = ["ladder", "machine", "others"]

LADDER = ("case", "variant", "against", "times faster", "floor", "pairs", "medians at full size", "peak memory")
OTHERS = ("case", "duel", "times faster", "floor", "pairs")


def machine(run: Run) -> str:
    """Return where and when the run was made, as a sentence."""
    duels = [*run.others, *(duel for step in run.steps for duel in step.duels)]
    coverage = percent(min(duel.coverage for duel in duels))
    return (
        f"{run.date}, commit {run.commit}: {', '.join(run.machine)}. {len(duels)} duels; the intervals cover {coverage}"
        f" or more. All numbers are from [the saved run]({run.path})."
    )


def ladder(run: Run) -> str:
    """Return the table of the variants: each against the variants before it."""
    return _table(LADDER, (row for step in run.steps for row in _rows(step)))


def _rows(step: Step) -> Iterator[Sequence[str]]:
    """Yield a row per duel, or one without a duel; what belongs to the variant stands in the first."""
    full, memory = step.full_size, step.memory
    of_variant = (
        f"{number(full.ratio)} ({full.size})" if full else "",
        f"{memory.share:.2f} ({memory.peak / MIB:.1f} MiB)" if memory else "",
    )
    for duel in step.duels:
        name = f"`{step.variant}`" + (f", {duel.size}" if duel.size else "")
        yield (step.case, name, duel.against or "baseline", *_numbers(duel), *of_variant)
        of_variant = ("", "")
    if not step.duels:
        yield (step.case, f"`{step.variant}`", "baseline", "", "", "", *of_variant)


def others(run: Run) -> str:
    """Return the table of all other duels."""
    return _table(OTHERS, ((duel.case, _name(duel), *_numbers(duel)) for duel in run.others))


def _name(duel: Duel) -> str:
    """Return a duel's test and parameters in words."""
    sides = ", ".join(filter(None, (duel.variant and f"`{duel.variant}`", duel.against, duel.size)))
    return f"{duel.test}: {sides}" if sides else duel.test


def _numbers(duel: Duel) -> tuple[str, str, str]:
    """Return the cells of a duel: the ratio with its interval, the floor and whether it is not proven, the pairs."""
    low, high = duel.interval
    floor = number(duel.floor)
    if duel.verdict not in {"holds", ""}:
        floor = f"{floor}, **{duel.verdict}**"
    return f"{number(duel.ratio)} ({number(low)} to {number(high)})", floor, str(duel.pairs)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|" for cells in lines)
