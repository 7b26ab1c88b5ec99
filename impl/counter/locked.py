"""Tests and increments the count under one lock, keeps a copy of it, and writes the log outside the lock.

This is the smallest change that makes the original correct: exactly the limit, each count once, each entry consistent.
It is not faster. An entry still costs an open, a write and a close, and the lock is cheap beside them: 0.74 to 1.0
times the baseline's speed (AMD EPYC Turin (Zen 5), 2 cores, CPython 3.11, 2026-11-23).

It costs the order of the entries: another thread can write its entry between a thread's increment and its write. About
one entry in nine follows a later one.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from .baseline import Writable
from .log import CounterResult, entry, prepare
from .threads import Shared, together


def count_up(shared: Shared, thread: int, open_log: Callable[[], AbstractContextManager[Writable]]) -> int:
    """Count until the limit is reached; return the number of entries this thread wrote."""
    wrote = 0
    while not shared.halt.is_set():
        with shared.lock:
            if shared.count >= shared.limit:
                break
            shared.count += 1
            count = shared.count
        with open_log() as log:
            log.write(entry(count, thread))
        wrote += 1
    return wrote


def run(
    log_path: str | os.PathLike[str], threads: int = 15, limit: int = 100_000, start_delay: float = 0.0
) -> CounterResult:
    """Count to exactly the limit; the entries are complete and consistent, in no particular order."""
    path = prepare(log_path, threads, limit, start_delay)
    shared = Shared(limit)
    open_log = partial(path.open, "a", encoding="ascii", newline="\n")
    return together(lambda thread: count_up(shared, thread, open_log), shared, threads, start_delay)
