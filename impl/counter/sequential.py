"""Writes the entry under the lock too, so entries are in order and all threads can share one open, buffered file.

Faster than `locked` because the file stays open and each write is 8 KiB, some 65 entries, instead of an open, a write
and a close per entry: 2.8 to 4.4 times the baseline's speed (AMD EPYC Turin (Zen 5), 2 cores, CPython 3.11,
2026-11-23).

It costs concurrency: threads wait while another one formats its entry. Entries reach the file some 65 at a time, and if
the disk is full the last one may be cut short. What remains is the interpreter: a lock, a clock reading and a format
string per entry.
"""

import os

from .baseline import Writable
from .log import CounterResult, entry, prepare
from .threads import Shared, together


def count_up(shared: Shared, thread: int, log: Writable) -> int:
    """Count until the limit is reached; return the number of entries this thread wrote."""
    wrote = 0
    while not shared.halt.is_set():
        with shared.lock:
            if shared.count >= shared.limit:
                break
            shared.count += 1
            log.write(entry(shared.count, thread))
        wrote += 1
    return wrote


def run(
    log_path: str | os.PathLike[str], threads: int = 15, limit: int = 100_000, start_delay: float = 0.0
) -> CounterResult:
    """Count to exactly the limit, every entry in order."""
    path = prepare(log_path, threads, limit, start_delay)
    shared = Shared(limit)
    with path.open("w", encoding="ascii", newline="\n") as log:
        return together(lambda thread: count_up(shared, thread, log), shared, threads, start_delay)
