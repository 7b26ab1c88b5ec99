"""The same rows in three forms: a section in the terminal, a Markdown file, and JSON."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..judge.rules import MIB, Compared, Judged, Memory, bounds, detectable, number

REVISION_COLUMNS = ("against another revision", "verdict", "times faster", "interval", "would see", "pairs", "seconds")
DUEL_COLUMNS = ("duel", "verdict", "times faster", "interval", "floor", "pairs", "seconds", "saved")
MEMORY_COLUMNS = ("memory", "verdict", "reference", "candidate", "ratio", "ceiling", "saved")


@dataclass
class Report:
    """What a run found, in the order it found it, and what has to be said about it.

    `proven` is what the gate has shown of itself, and `took` the seconds of each part of the run.
    """

    compared: list[Compared] = field(default_factory=list)
    duels: list[Judged] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    unmeasured: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    proven: list[str] = field(default_factory=list)
    took: dict[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.compared or self.duels or self.memory or self.unmeasured or self.notes)

    def terminal(self) -> Iterator[str]:
        """Yield the section's lines."""
        for table in self._tables():
            widths = [max(map(len, column)) for column in zip(*table, strict=True)]
            for row in table:
                first, *others = zip(row, widths, strict=True)
                cells = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]
                yield "  ".join(cells).rstrip()
            yield ""
        yield from self._sentences()

    def markdown(self) -> str:
        """Return the report as a Markdown text."""
        lines = []
        for table in self._tables():
            header, *rows = [[cell.replace("|", "\\|") for cell in row] for row in table]
            rule = ["---", *["---:"] * (len(header) - 1)]
            lines += ["| " + " | ".join(row) + " |" for row in (header, rule, *rows)] + [""]
        lines += [f"- {sentence}" for sentence in self._sentences()]
        return "\n".join(lines) + "\n"

    def _tables(self) -> Iterator[list[tuple[str, ...]]]:
        if self.compared:
            yield [REVISION_COLUMNS, *map(_revision_row, self.compared)]
        if self.duels:
            yield [DUEL_COLUMNS, *map(_duel_row, self.duels)]
        if self.memory:
            yield [MEMORY_COLUMNS, *map(_memory_row, self.memory)]

    def _sentences(self) -> Iterator[str]:
        yield from self._remarks()
        if self.unmeasured:
            yield f"measuring is off: both sides ran once, and nothing is judged, in duels: {len(self.unmeasured)}"
        yield from self.notes
        yield from self.proven
        if self.took:
            parts = ", ".join(f"{part} {seconds:.0f} s" for part, seconds in self.took.items())
            yield f"took: {parts}; in all {sum(self.took.values()):.0f} s"
        yield "; ".join(self._counted())
        if self.results:
            yield "results: " + ", ".join(self.results)

    def _remarks(self) -> Iterator[str]:
        for row in self.compared:
            if row.verdict == "inconclusive":
                yield f"{row.name}: {row.evidence()}"
            elif row.note:
                yield f"{row.name}: {row.note}"
        for judged in self.duels:
            if judged.duel.note:
                yield f"{judged.duel.name}: {judged.duel.note}"
            if judged.floor_verdict == "unproven" or judged.saved_verdict == "inconclusive":
                yield f"{judged.duel.name}: {bounds(judged.duel)}"

    def _counted(self) -> Iterator[str]:
        if self.compared:
            yield f"against {self.compared[0].revision}: " + _counts(row.verdict for row in self.compared)
        if self.duels or not self.compared:
            yield f"duels: {len(self.duels)}"
        for title, verdicts in (
            ("floors", [judged.floor_verdict for judged in self.duels]),
            ("against the saved run", [judged.saved_verdict for judged in self.duels]),
        ):
            if any(verdicts):
                yield f"{title}: " + _counts(verdicts)
        if self.memory:
            broken = sum(row.ratio > row.limit for row in self.memory)
            yield f"ceilings: {len(self.memory) - broken} hold, {broken} broken"
        if any(row.saved for row in self.memory):
            yield "memory against the saved run: " + _counts(row.saved_verdict for row in self.memory)


def _counts(verdicts: Iterable[str | None]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in Counter(filter(None, verdicts)).items())


def _revision_row(row: Compared) -> tuple[str, ...]:
    duel = row.duel
    if duel is None:
        return (row.name, row.verdict, "-", "-", "-", "-", "-")
    low, high = duel.interval
    return (
        row.name,
        row.verdict,
        f"{duel.ratio:.3f}",
        f"{low:.3f} to {high:.3f}",
        f"+{detectable(duel):.1%}",
        str(duel.pairs),
        f"{duel.seconds:.1f}",
    )


def _duel_row(judged: Judged) -> tuple[str, ...]:
    duel, floor = judged.duel, judged.floor_verdict
    verdicts = [verdict for verdict in (floor and f"floor {floor}", judged.saved_verdict) if verdict]
    low, high = duel.interval
    return (
        duel.name,
        ", ".join(verdicts) or "measured",
        number(duel.ratio),
        f"{number(low)} to {number(high)}",
        number(judged.floor) or "-",
        str(duel.pairs),
        f"{duel.seconds:.1f}",
        number(judged.saved.ratio) if judged.saved else "-",
    )


def _memory_row(row: Memory) -> tuple[str, ...]:
    verdicts = ["ceiling broken" if row.ratio > row.limit else "ceiling holds", row.saved_verdict]
    return (
        row.name,
        ", ".join(filter(None, verdicts)),
        f"{row.reference / MIB:.1f} MiB",
        f"{row.candidate / MIB:.1f} MiB",
        f"{row.ratio:.2f}",
        f"{row.limit:g}",
        f"{row.saved.candidate / row.saved.reference:.2f}" if row.saved else "-",
    )
