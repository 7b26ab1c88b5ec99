"""Reading a log back: everything that is wrong with it, counted, and the first of each kind quoted."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

NUMBER = rb"([1-9][0-9]{0,17})"
ENTRY = re.compile(
    rb"Increased Count to %(n)b from thread %(n)b\n"
    rb"Timestamp: ([0-9]+\.[0-9]{6})\n"
    rb"After some time\.\.\. Now the count is %(n)b from thread %(n)b\n\n" % {b"n": NUMBER}
)


@dataclass(frozen=True)
class LogReport:
    """What `check_log` found.

    Attributes:
        limit: the count the log should go to.
        entries: well-formed entries, including those that are wrong otherwise.
        duplicates: entries whose count an earlier entry already had.
        gaps: counts from 1 to the limit that no entry has.
        beyond: entries whose count is above the limit.
        inconsistent: entries whose first and third line differ in count or thread.
        out_of_order: entries whose count is below that of the entry before.
        backwards: entries with an earlier timestamp than the entry before (no fault: a wall clock may be set back).
        malformed: pieces of text that are no entry, each counted once however long.
        last: the last entry's count; 0 if there is none.
        examples: the first of each kind of fault, in words.
    """

    limit: int
    entries: int
    duplicates: int
    gaps: int
    beyond: int
    inconsistent: int
    out_of_order: int
    backwards: int
    malformed: int
    last: int
    examples: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Every count from 1 to the limit exactly once and consistent, nothing else; in any order."""
        return not (self.duplicates or self.gaps or self.beyond or self.inconsistent or self.malformed)

    @property
    def ok(self) -> bool:
        """Complete, and in order."""
        return self.complete and not self.out_of_order

    def __str__(self) -> str:
        faults = {
            "duplicate": self.duplicates,
            "missing": self.gaps,
            "beyond the limit": self.beyond,
            "inconsistent": self.inconsistent,
            "out of order": self.out_of_order,
            "malformed": self.malformed,
        }
        found = ", ".join(f"{many:,} {kind}" for kind, many in faults.items() if many) or "no fault"
        told = "".join(f"; {example}" for example in self.examples)
        return f"{self.entries:,} entries of {self.limit:,}, the last one {self.last:,}: {found}{told}"


def check_log(log_path: str | os.PathLike[str], limit: int) -> LogReport:
    """Read a log and report on it; no byte is passed over.

    Raises:
        OSError: the log cannot be read.
    """
    pieces = ENTRY.split(Path(log_path).read_bytes())
    between = [(at, text) for at, text in enumerate(pieces[::6]) if text]
    count, thread, count_again, thread_again = (
        np.array(pieces[group::6], dtype="S18").astype(np.int64) for group in (1, 2, 4, 5)
    )
    stamp = np.array(pieces[3::6], dtype="S32").astype(np.float64)

    seen, many = np.unique(count, return_counts=True)
    inside = seen[seen <= limit]
    missing = limit - len(inside)
    differs = np.flatnonzero((count != count_again) | (thread != thread_again))
    falls = np.flatnonzero(np.diff(count) < 0) + 1

    examples = []
    if (many > 1).any():
        examples.append(f"count {seen[many > 1][0]} stands {many[many > 1][0]} times")
    if missing:
        holes = np.flatnonzero(inside != np.arange(1, len(inside) + 1))
        examples.append(f"count {holes[0] + 1 if len(holes) else len(inside) + 1} is missing")
    if len(differs):
        at = differs[0]
        examples.append(
            f"entry {at + 1} begins with {count[at]} from thread {thread[at]}"
            f" and ends with {count_again[at]} from thread {thread_again[at]}"
        )
    if len(falls):
        examples.append(f"count {count[falls[0]]} follows {count[falls[0] - 1]}")
    if between:
        at, text = between[0]
        examples.append(f"after {at} entries stands {text[:80]!r}")

    return LogReport(
        limit=limit,
        entries=len(count),
        duplicates=len(count) - len(seen),
        gaps=missing,
        beyond=int((count > limit).sum()),
        inconsistent=len(differs),
        out_of_order=len(falls),
        backwards=int((np.diff(stamp) < 0).sum()),
        malformed=len(between),
        last=int(count[-1]) if len(count) else 0,
        examples=tuple(examples),
    )
