"""The comment: what matters first, the rest folded."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .document import Facts, Level, Row, facts
from .sheet import Sheet, code

MARKER = "<!-- performance-gate -->"
SIGNS = {"red": "🔴", "yellow": "🟡", "plain": "🟢"}
COLUMNS = ("", "benchmark", "verdict", "measured", "detectable")
PROFILE_COLUMNS = ("function", "ms there", "ms here", "calls there", "calls here")
ENTRY_COLUMNS = ("acknowledged slowdown", "up to", "until", "what became of it", "in the file", "reason")
LONGEST_TEXT = 400
MOST_PROFILES, PROFILE_ROWS = 20, 10


def comment(document: Any, *, conclusion: str | None = None, url: str | None = None) -> str:
    """Return the comment's Markdown.

    Args:
        document: what --gate-json wrote; it is not trusted.
        conclusion: of the whole workflow, as GitHub says; None if it is not known.
        url: of the workflow's run, likewise.

    Raises:
        DocumentError: The document is something else.
    """
    found = facts(document)
    messages = dict(found.failures)
    rows = [replace(row, level="red") if row.test in messages else row for row in found.rows]
    level, headline = _headline(found, rows, conclusion)
    sheet = Sheet(f"{MARKER}\n{SIGNS[level]} **{headline}**\n\n{_counts(found, rows)}\n\n", _footer(found, url))
    matter = [row for row in rows if row.level == "red"] + [row for row in rows if row.level == "yellow"]
    sheet.table(COLUMNS, map(_cells, matter))
    sheet.list(f"{code(test)} failed: {code(text, LONGEST_TEXT)}" for test, text in found.failures)
    notes = [row for row in matter if row.note and row.test not in messages]
    sheet.list(f"{code(row.name)}: {code(row.note, LONGEST_TEXT)}" for row in notes)
    sheet.table(ENTRY_COLUMNS, found.acknowledged)
    if profiled := [row for row in matter if row.profile][:MOST_PROFILES]:
        with sheet.folded("What grew in the slower ones, by a profiler: where, and not how much"):
            for row in profiled:
                sheet.text(code(row.name))
                sheet.table(PROFILE_COLUMNS, row.profile[:PROFILE_ROWS])
    if others := [row for row in rows if row.level == "plain"]:
        with sheet.folded(f"{len(others)} without a finding"):
            sheet.table(COLUMNS, map(_cells, others))
    if found.sentences:
        with sheet.folded("About the run"):
            sheet.list(code(sentence, LONGEST_TEXT) for sentence in found.sentences)
    return str(sheet)


def unreadable(why: str, *, conclusion: str | None = None, url: str | None = None) -> str:
    """Return the comment on a run without results, which is never green.

    Args:
        why: in our words.
        conclusion: as of `comment`.
        url: likewise.
    """
    ended = f" The workflow ended with {_word(conclusion)}." if conclusion else ""
    text = f"No verdict: {why}.{ended} Look at what the job printed."
    return f"{MARKER}\n{SIGNS['red']} **Red: the run has left no results that can be read.**\n\n{text}\n{_link(url)}"


def _headline(found: Facts, rows: Sequence[Row], conclusion: str | None) -> tuple[Level, str]:
    """Return the verdict on the run. Whatever is not known to be well is red."""
    red = len({row.test for row in rows if row.level == "red"})
    others = len({test for test, _ in found.failures} - {row.test for row in rows})
    if red or others:
        failed = [_plural(red, "benchmark"), _plural(others, "other test")]
        return "red", f"Red: {' and '.join(filter(None, failed))} failed."
    if found.status != 0:
        return "red", "Red: the run failed, and no test says why. Look at what the job printed."
    if conclusion not in {None, "success"}:
        return (
            "red",
            f"Red: nothing is slower, and the workflow ended with {_word(conclusion)}. Look at its other jobs.",
        )
    if not rows:
        return "yellow", "Yellow: nothing was measured."
    admitted = sum(row.acknowledged for row in rows)
    open_ = sum(row.level == "yellow" for row in rows) - admitted
    if admitted or open_:
        parts = [_plural(admitted, "acknowledged slowdown"), f"{open_} to look at" if open_ else ""]
        return "yellow", f"Yellow: nothing failed; {' and '.join(filter(None, parts))}."
    return "plain", "Green: nothing is slower."


def _counts(found: Facts, rows: Sequence[Row]) -> str:
    counts = Counter(row.verdict for row in rows)
    text = "; ".join(f"{count} {verdict}" for verdict, count in counts.most_common()) or "no benchmark"
    commit = f" (`{found.commit[:12]}`)" if found.commit else ""
    return f"Compared with {code(found.revision)}{commit}: {text}." if found.revision else f"Verdicts: {text}."


def _cells(row: Row) -> tuple[str, ...]:
    sign = SIGNS[row.level] if row.level == "plain" else f"{SIGNS[row.level]} {row.level}"
    return (sign, code(row.name), row.verdict, row.measured, row.detectable)


def _footer(found: Facts, url: str | None) -> str:
    parts = [
        # In a pull request's job that is GitHub's merge of it with main, which no branch has.
        f"Measured commit: `{found.here[:12]}`." if found.here else "",
        f"Machine: {code(found.machine)}." if found.machine else "",
        "The pull request's own job measured and wrote this.",
    ]
    return f"{' '.join(filter(None, parts))}\n{_link(url)}"


def _link(url: str | None) -> str:
    """Return a link to the run; nothing if its address is not a plain one."""
    plain = url is not None and re.fullmatch(r"https://[\w.-]+(:\d+)?/[\w./-]+", url, re.ASCII)
    return f"\n[The run]({url})\n" if plain else ""


def _word(conclusion: str | None) -> str:
    return re.sub(r"[^a-z_]", "", conclusion or "")[:30].replace("_", " ")


def _plural(count: int, thing: str) -> str:
    """Return a count of things; nothing for none."""
    if not count:
        return ""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
