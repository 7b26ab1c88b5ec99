"""The racy original: test the count, open the log, increment, write, all without a lock.

The interpreter can switch threads while the log is opened, between the test and the increment. Each thread can then
pass the test once too often, and the count overshoots. The third line of an entry reads the count again after two
writes, when another thread may have changed it.
"""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Protocol

from .log import CounterResult, prepare
from .threads import Shared, together


class Writable(Protocol):
    """The part of a text file's interface that writing an entry needs."""

    def write(self, text: str, /) -> object:
        """Append the text."""


def count_up(shared: Shared, thread: int, open_log: Callable[[], AbstractContextManager[Writable]]) -> int:
    """Count until the thread sees the limit reached; return the number of entries it wrote."""
    wrote = 0
    while shared.count < shared.limit and not shared.halt.is_set():
        with open_log() as log:
            shared.count += 1
            log.write(f"Increased Count to {shared.count} from thread {thread}\n")
            log.write(f"Timestamp: {time.time():.6f}\n")
            log.write(f"After some time... Now the count is {shared.count} from thread {thread}\n\n")
            wrote += 1
    return wrote


def run(
    log_path: str | os.PathLike[str], threads: int = 15, limit: int = 100_000, start_delay: float = 0.0
) -> CounterResult:
    """Count to the limit, or beyond it by up to one per thread."""
    path = prepare(log_path, threads, limit, start_delay)
    shared = Shared(limit)
    open_log = partial(path.open, "a", encoding="ascii", newline="\n")
    return together(lambda thread: count_up(shared, thread, open_log), shared, threads, start_delay)
