"""The same rows twice: a section in the terminal, and a Markdown file."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.gate.judge import Judged, bounds, number

MIB = 1024 * 1024
DUEL_COLUMNS = ("duel", "verdict", "times faster", "interval", "floor", "pairs", "seconds", "saved")
MEMORY_COLUMNS = ("memory", "reference", "candidate", "ratio", "ceiling")


@dataclass(frozen=True)
class Memory:
    """One comparison of peak memory: bytes of both sides, and the greatest ratio allowed."""

    name: str
    reference: int
    candidate: int
    limit: float

    @property
    def ratio(self) -> float:
        """Return candidate / reference."""
        return self.candidate / self.reference

    def __str__(self) -> str:
        return (
            f"{self.name}: peak memory of the candidate is {self.candidate / MIB:.1f} MiB, {self.ratio:.2f} times the "
            f"reference's {self.reference / MIB:.1f} MiB; the ceiling is {self.limit:g} times"
        )


@dataclass
class Report:
    """What a run found, in the order it found it, and what has to be said about it."""

    duels: list[Judged] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    unmeasured: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.duels or self.memory or self.unmeasured or self.notes)

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
        if self.duels:
            yield [DUEL_COLUMNS, *map(_duel_row, self.duels)]
        if self.memory:
            yield [MEMORY_COLUMNS, *map(_memory_row, self.memory)]

    def _sentences(self) -> Iterator[str]:
        for judged in self.duels:
            if judged.duel.note:
                yield f"{judged.duel.name}: {judged.duel.note}"
            if judged.floor_verdict == "unproven" or judged.saved_verdict == "inconclusive":
                yield f"{judged.duel.name}: {bounds(judged.duel)}"
        if self.unmeasured:
            yield f"measuring is off: both sides ran once, and nothing is judged, in duels: {len(self.unmeasured)}"
        yield from self.notes
        floors = Counter(judged.floor_verdict for judged in self.duels if judged.floor_verdict)
        saved = Counter(judged.saved_verdict for judged in self.duels if judged.saved_verdict)
        counted = [f"duels: {len(self.duels)}", *_counts("floors", floors), *_counts("against the saved run", saved)]
        if self.memory:
            broken = sum(row.ratio > row.limit for row in self.memory)
            counted.append(f"ceilings: {len(self.memory) - broken} hold, {broken} broken")
        yield "; ".join(counted)
        if self.results:
            yield "results: " + ", ".join(self.results)


def _counts(title: str, counter: Counter[str]) -> list[str]:
    return [f"{title}: " + ", ".join(f"{count} {verdict}" for verdict, count in counter.items())] if counter else []


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
    return (
        row.name,
        f"{row.reference / MIB:.1f} MiB",
        f"{row.candidate / MIB:.1f} MiB",
        f"{row.ratio:.2f}",
        f"{row.limit:g}",
    )
