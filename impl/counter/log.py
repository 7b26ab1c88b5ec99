"""What every variant shares about the log: its entries, how it is begun, and how it is mended after a failure."""

import io
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CounterResult:
    """What a run did.

    Attributes:
        count: the count when the last thread had ended.
        per_thread: entries written by each thread, thread 1 first.
        seconds: from the first thread's start to the last one's end, without the start delay.
    """

    count: int
    per_thread: tuple[int, ...]
    seconds: float


def entry(count: int, thread: int) -> str:
    """One increment as the log tells it, at this moment of the wall clock (seconds, to the microsecond)."""
    return (
        f"Increased Count to {count} from thread {thread}\n"
        f"Timestamp: {time.time():.6f}\n"
        f"After some time... Now the count is {count} from thread {thread}\n\n"
    )


def prepare(log_path: str | os.PathLike[str], threads: int, limit: int, start_delay: float) -> Path:
    """Check every argument, make the log's folder, and empty the log: what can be wrong is said before a thread starts.

    Raises:
        TypeError: an argument of the wrong type (bool is no number here).
        ValueError: threads < 1, limit < 0, or a start delay that is negative or not finite.
        OSError: the log cannot be written; the subclass is the system's (IsADirectoryError, PermissionError, ...).
    """
    for name, value, least in (("threads", threads, 1), ("limit", limit, 0)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be a whole number, got {value!r}")
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    if isinstance(start_delay, bool) or not isinstance(start_delay, int | float):
        raise TypeError(f"start_delay must be a number of seconds, got {start_delay!r}")
    if not (math.isfinite(start_delay) and start_delay >= 0):
        raise ValueError(f"start_delay must be finite and not negative, got {start_delay!r} s")
    if not isinstance(log_path, str | os.PathLike):
        raise TypeError(f"log_path must be a path, got {log_path!r}")
    path = Path(log_path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("wb").close()
    except OSError as error:
        raise OSError(error.errno, f"the log cannot be written ({error.strerror})", str(path)) from error
    return path


def cut_to_whole_entries(log: io.FileIO) -> None:
    """Cut a log that ends within an entry back to the end of the entry before."""
    start = max(0, log.seek(0, os.SEEK_END) - 4096)  # an entry is far shorter than that
    log.seek(start)
    end = log.readall().rfind(b"\n\n")
    log.truncate(start + end + 2 if end >= 0 else 0)
