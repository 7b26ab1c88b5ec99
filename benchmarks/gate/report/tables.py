"""The findings as a section in the terminal and as a Markdown file, with the same rows."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import groupby

from tabulate import tabulate

from ..judge.memory import MIB, MemoryRow
from ..judge.rules import JudgedDuel, RevisionRow, by_clock, deciding_clock, detectable
from . import work
from .dependencies import environments
from .findings import Findings
from .words import (
    CLOCK_NAMES,
    acknowledged,
    evidence,
    limits,
    no_profile,
    notes_of_a_test,
    number,
    profile_cells,
    remark,
    verdict,
)

REVISION_COLUMNS = (
    "against another revision",
    "verdict",
    "clock",
    "times faster",
    "interval",
    "detectable",
    "pairs",
    "seconds",
)
DUEL_COLUMNS = ("duel", "verdict", "times faster", "interval", "floor", "pairs", "seconds", "saved")
MEMORY_COLUMNS = ("memory", "verdict", "reference", "candidate", "ratio", "ceiling", "saved")
PROFILE_COLUMNS = ("function", "ms there", "ms here", "calls there", "calls here")
PROFILE_ROWS = 20
Row = tuple[str, ...]


def terminal(findings: Findings, width: int) -> Iterator[str]:
    """Yield the section's lines; a test's notes that are wider than `width` have a line each."""
    for header, rows in _tables(findings):
        yield from table(header, rows, "plain").splitlines()
        yield ""
    yield from _sentences(findings, width)


def markdown(findings: Findings) -> str:
    """Return the findings as a Markdown text."""
    tables = [table(header, rows, "pipe") + "\n" for header, rows in _tables(findings)]
    profiles = [_profile(row) for row in findings.compared if row.growth]
    return "\n".join([*tables, *profiles, *(f"- {sentence}" for sentence in _sentences(findings))]) + "\n"


def _profile(row: RevisionRow) -> str:
    """Return the functions that changed most, collapsed, the one that grew most first."""
    changed = sorted(row.growth, key=lambda each: abs(each.seconds), reverse=True)[:PROFILE_ROWS]
    ordered = sorted(changed, key=lambda each: each.seconds, reverse=True)
    rows = [(f"`{each.function}`", *profile_cells(each)) for each in ordered]
    summary = f"{escape(row.name)}: what grew, per call of the work (by a profiler: where, and not how much)"
    return f"<details><summary>{summary}</summary>\n\n{table(PROFILE_COLUMNS, rows, 'pipe')}\n\n</details>\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], form: str) -> str:
    """Return a table in one of tabulate's formats, its first column to the left and the others to the right."""
    escaped = [[cell.replace("|", "\\|") if form == "pipe" else cell for cell in row] for row in rows]
    alignment = ["left", *["right"] * (len(header) - 1)]
    return tabulate(escaped, header, tablefmt=form, disable_numparse=True, colalign=alignment if escaped else None)


def _tables(findings: Findings) -> Iterator[tuple[Row, list[Row]]]:
    if findings.compared:
        yield REVISION_COLUMNS, [_revision_row(row) for row in findings.compared]
    if findings.work:
        yield work.COLUMNS, [work.cells(row) for row in findings.work]
    if findings.duels:
        yield DUEL_COLUMNS, [_duel_row(row) for row in findings.duels]
    if findings.memory:
        yield MEMORY_COLUMNS, [_memory_row(row) for row in findings.memory]


def _sentences(findings: Findings, width: float = math.inf) -> Iterator[str]:
    yield from environments(findings.environments)
    yield from _caveats(findings)
    if findings.unmeasured:
        yield f"measuring is off: both sides ran once, and nothing is judged, in duels: {len(findings.unmeasured)}"
    by_test = sorted(findings.notes, key=lambda note: list(findings.titles).index(note.test))
    for test, notes in groupby(by_test, key=lambda note: note.test):
        yield from notes_of_a_test(findings.titles[test], list(notes), width)
    for test, entry in findings.acknowledged.items():
        yield f"{test}: {acknowledged(entry)}"
    yield from findings.remarks
    yield from findings.proven
    if findings.took:
        parts = ", ".join(f"{part} {seconds:.0f} s" for part, seconds in findings.took.items())
        yield f"took: {parts}; in all {sum(findings.took.values()):.0f} s"
    yield "; ".join(_summary(findings))
    if findings.results:
        yield "results: " + ", ".join(findings.results)


def _caveats(findings: Findings) -> Iterator[str]:
    for row in findings.compared:
        if row.verdict == "inconclusive":
            yield f"{row.name}: {evidence(row)}"
        elif text := remark(row):
            yield f"{row.name}: {text}"
        if row.unprofiled:
            yield f"{row.name}: {no_profile(row)}"
    yield from filter(None, map(work.remark, findings.work))
    for judged in findings.duels:
        if judged.duel.note:
            yield f"{judged.duel.name}: {judged.duel.note}"
        if judged.floor_verdict == "unproven" or judged.saved_verdict == "inconclusive":
            yield f"{judged.duel.name}: {limits(judged.duel)}"


def _summary(findings: Findings) -> Iterator[str]:
    if findings.compared:
        yield f"against {findings.compared[0].revision}: " + _counts(verdict(row) for row in findings.compared)
    if findings.work:
        yield "work: " + _counts(row.verdict for row in findings.work)
    if findings.duels or not findings.compared:
        yield f"duels: {len(findings.duels)}"
    if any(judged.floor_verdict for judged in findings.duels):
        yield "floors: " + _counts(judged.floor_verdict for judged in findings.duels)
    if any(judged.saved_verdict for judged in findings.duels):
        yield "against the saved run: " + _counts(judged.saved_verdict for judged in findings.duels)
    ceilings = [row.ceiling_verdict for row in findings.memory if row.ceiling_verdict]
    if ceilings:
        yield f"ceilings: {ceilings.count('holds')} hold, {ceilings.count('broken')} broken"
    if any(row.saved_verdict for row in findings.memory):
        yield "memory against the saved run: " + _counts(row.saved_verdict for row in findings.memory)
    if any(row.revision_verdict for row in findings.memory):
        yield "memory against the revision: " + _counts(verdict(row) for row in findings.memory)


def _counts(verdicts: Iterable[str | None]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in Counter(filter(None, verdicts)).items())


def _revision_row(row: RevisionRow) -> Row:
    duel = row.duel
    if duel is None:
        return (row.name, verdict(row), *["-"] * (len(REVISION_COLUMNS) - 2))
    clock = deciding_clock(duel)
    numbers = by_clock(duel, clock)
    low, high = numbers.interval
    return (
        row.name,
        verdict(row),
        CLOCK_NAMES[clock],
        f"{numbers.ratio:.3f}",
        f"{low:.3f} to {high:.3f}",
        f"{detectable(duel, clock):+.1%}",
        str(duel.pairs),
        f"{duel.seconds:.1f}",
    )


def _duel_row(judged: JudgedDuel) -> Row:
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


def _memory_row(row: MemoryRow) -> Row:
    verdicts = [row.ceiling_verdict and f"ceiling {row.ceiling_verdict}", row.saved_verdict, verdict(row)]
    return (
        row.name,
        ", ".join(filter(None, verdicts)) or "measured",
        f"{row.reference / MIB:.1f} MiB",
        f"{row.candidate / MIB:.1f} MiB",
        f"{row.ratio:.2f}",
        "-" if row.limit is None else f"{row.limit:g}",
        f"{row.saved.candidate / row.saved.reference:.2f}" if row.saved else "-",
    )
