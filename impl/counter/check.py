"""Reads a log back, counts the faults of each kind, and quotes the first one."""

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
    """The result of `check_log`.

    Attributes:
        limit: The count that the log should reach.
        entries: Well-formed entries, including those with other faults.
        duplicates: Entries whose count already occurred in an earlier entry.
        gaps: Counts from 1 to the limit that occur in no entry.
        beyond: Entries whose count is above the limit.
        inconsistent: Entries whose first and third line differ in count or thread.
        out_of_order: Entries whose count is below that of the entry before.
        backwards: Entries with an earlier timestamp than the entry before. Not a fault: a wall clock can be set back.
        malformed: Stretches of text that are not entries. Each counts once, whatever its length.
        last: The last entry's count; 0 if there are no entries.
        examples: The first fault of each kind in words, except for `beyond`.
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
        """Whether the log holds each count from 1 to the limit in exactly one consistent entry, and nothing else."""
        return not (self.duplicates or self.gaps or self.beyond or self.inconsistent or self.malformed)

    @property
    def ok(self) -> bool:
        """Whether the log is complete and in order."""
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
        summary = ", ".join(f"{number:,} {kind}" for kind, number in faults.items() if number) or "no fault"
        examples = "".join(f"; {example}" for example in self.examples)
        return f"{self.entries:,} entries of {self.limit:,}, the last one {self.last:,}: {summary}{examples}"


def check_log(log_path: str | os.PathLike[str], limit: int) -> LogReport:
    """Check every byte of a log and return a report.

    Raises:
        OSError: The log cannot be read.
    """
    pieces = ENTRY.split(Path(log_path).read_bytes())
    malformed = [(before, text) for before, text in enumerate(pieces[::6]) if text]
    count, thread, count_again, thread_again = (
        np.array(pieces[group::6], dtype="S18").astype(np.int64) for group in (1, 2, 4, 5)
    )
    stamp = np.array(pieces[3::6], dtype="S32").astype(np.float64)

    distinct, occurrences = np.unique(count, return_counts=True)
    repeated = occurrences > 1
    within_limit = distinct[distinct <= limit]
    missing = limit - len(within_limit)
    inconsistent = np.flatnonzero((count != count_again) | (thread != thread_again))
    out_of_order = np.flatnonzero(np.diff(count) < 0) + 1

    examples = []
    if repeated.any():
        examples.append(f"count {distinct[repeated][0]} occurs {occurrences[repeated][0]} times")
    if missing:
        displaced = np.flatnonzero(within_limit != np.arange(1, len(within_limit) + 1))
        examples.append(f"count {displaced[0] + 1 if len(displaced) else len(within_limit) + 1} is missing")
    if len(inconsistent):
        first = inconsistent[0]
        examples.append(
            f"entry {first + 1} begins with {count[first]} from thread {thread[first]}"
            f" and ends with {count_again[first]} from thread {thread_again[first]}"
        )
    if len(out_of_order):
        first = out_of_order[0]
        examples.append(f"count {count[first]} follows {count[first - 1]}")
    if malformed:
        before, text = malformed[0]
        examples.append(f"malformed text after {before} entries: {text[:80]!r}")

    return LogReport(
        limit=limit,
        entries=len(count),
        duplicates=len(count) - len(distinct),
        gaps=missing,
        beyond=int((count > limit).sum()),
        inconsistent=len(inconsistent),
        out_of_order=len(out_of_order),
        backwards=int((np.diff(stamp) < 0).sum()),
        malformed=len(malformed),
        last=int(count[-1]) if len(count) else 0,
        examples=tuple(examples),
    )
