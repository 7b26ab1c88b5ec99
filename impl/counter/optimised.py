"""TODO docstring."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .log import CounterResult, cut_to_whole_entries, prepare
from .threads import Shared, together

BLOCK = 5000
QUADS = np.frombuffer(b"".join(b"%04d" % n for n in range(10_000)), np.uint32)  # 0 to 9999, four digits each


def digits(values: NDArray[Any], width: int) -> NDArray[np.void]:
    """The last `width` decimal digits of whole numbers: int[n] -> n items of `width` ASCII bytes, four at a time."""
    groups = -(-width // 4)
    quads = np.empty((len(values), groups), np.uint32)
    for column in range(groups - 1, 0, -1):
        higher = values // 10_000
        quads[:, column] = QUADS[values - 10_000 * higher]
        values = higher
    quads[:, 0] = QUADS[values]
    size = 4 * groups
    tail = np.dtype({"names": ["tail"], "formats": [f"V{width}"], "offsets": [size - width], "itemsize": size})
    return quads.view(tail)["tail"][:, 0]


@cache
def layout(thread: int, width: int) -> tuple[str, np.dtype[np.void]]:
    """A thread's entry for counts of `width` digits: the text, with %010d for the second, and where its numbers go."""
    zeros = "0" * width
    head = f"Increased Count to {zeros}"
    until_micros = f"{head} from thread {thread}\nTimestamp: %010d."
    until_again = f"{until_micros}000000\nAfter some time... Now the count is "
    text = f"{until_again}{zeros} from thread {thread}\n\n"
    numbers = np.dtype(
        {
            "names": ["count", "micros", "again"],
            "formats": [f"V{width}", "V6", f"V{width}"],
            "offsets": [len(head) - width, len(until_micros % 0), len(until_again % 0)],
            "itemsize": len(text % 0),
        }
    )
    return text, numbers


def entries(thread: int, first: int, stamps: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The entries `first`, `first + 1`, ... as bytes, one for each moment (float64[n], seconds since 1970).

    All n counts must have equally many digits: then all entries have the same length, and are rows of a table.
    """
    width = len(str(first))
    text, numbers = layout(thread, width)
    rows = np.empty(len(stamps), numbers)
    whole = rows.view(f"V{numbers.itemsize}")
    seconds = stamps.astype(np.int64)
    ticks = np.flatnonzero(np.diff(seconds)) + 1  # nearly always none: a block takes well under a millisecond
    for begin, end in pairwise((0, *ticks.tolist(), len(rows))):
        whole[begin:end] = np.void((text % seconds[begin]).encode())
    rows["micros"] = digits(((stamps - seconds) * 1e6).astype(np.int32), 6)
    rows["count"] = rows["again"] = digits(np.arange(first, first + len(rows)), width)
    return rows.view(np.uint8)


def read_clock(times: int) -> NDArray[np.float64]:
    """The wall clock, read so many times: float64[times], seconds since 1970."""
    return np.fromiter(iter(time.time, 0.0), np.float64, times)  # "until it is 1970": without a Python frame each time


def write_all(file: int, data: NDArray[np.uint8]) -> None:
    """Write all of it, in as many pieces as the system takes."""
    left = data.data
    while left:
        left = left[os.write(file, left) :]


def let_go(lock: "threading.RLock") -> None:
    """Release a lock if this thread holds it."""
    with suppress(RuntimeError):
        lock.release()


class HandOverHand:
    """Two locks taken in turn: a thread lets go of the first only when it has the second.

    So blocks are written in the order they were claimed, while the next one is already being made. The locks are
    RLocks because these know their owner: a thread that dies can let go of what it holds, wherever it was.
    """

    def __init__(self, shared: Shared, write: Callable[[NDArray[np.uint8]], object], block: int = BLOCK) -> None:
        self.shared = shared
        self.write = write
        self.block = block
        self.claiming = shared.lock
        self.writing = threading.RLock()

    def claim(self) -> tuple[int, int]:
        """The next counts: first and how many, never of different length in digits. None are left: 0."""
        first = self.shared.count + 1
        last = min(self.shared.count + self.block, 10 ** len(str(first)) - 1, self.shared.limit)
        self.shared.count = last
        return first, last - first + 1

    def count_up(self, thread: int) -> int:
        """Count until the limit is reached; return how many entries this thread wrote."""
        wrote = 0
        try:
            while True:
                self.claiming.acquire()
                first, many = self.claim()
                if not many:
                    return wrote
                block = entries(thread, first, read_clock(many))
                self.writing.acquire()
                self.claiming.release()
                if self.shared.halt.is_set():  # what stands before this block may be missing
                    return wrote
                self.write(block)
                self.writing.release()
                wrote += many
        except BaseException:
            self.shared.halt.set()  # before the locks go: nobody may write after the gap
            raise
        finally:
            let_go(self.claiming)
            let_go(self.writing)


def run(
    log_path: str | os.PathLike[str], threads: int = 15, limit: int = 100_000, start_delay: float = 0.0
) -> CounterResult:
    """Count to exactly the limit, every entry in order; after any failure the log is a prefix of whole entries."""
    path = prepare(log_path, threads, limit, start_delay)
    shared = Shared(limit)
    with path.open("r+b", buffering=0) as log:
        blocks = HandOverHand(shared, lambda data: write_all(log.fileno(), data))
        try:
            return together(blocks.count_up, shared, threads, start_delay)
        except BaseException:
            cut_to_whole_entries(log)
            raise
