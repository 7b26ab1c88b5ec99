"""What all variants share about the log: the text of an entry, creating the log, and repairing it after a failure."""

import io
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CounterResult:
    """The result of a run.

    Attributes:
        count: The count after the last thread has ended.
        per_thread: The number of entries that each thread wrote, thread 1 first.
        seconds: The time from the start of the first thread to the end of the last, without the start delay.
    """

    count: int
    per_thread: tuple[int, ...]
    seconds: float


def entry(count: int, thread: int) -> str:
    """Return the log entry of one increment, with the present wall-clock time in seconds to the microsecond."""
    return (
        f"Increased Count to {count} from thread {thread}\n"
        f"Timestamp: {time.time():.6f}\n"
        f"After some time... Now the count is {count} from thread {thread}\n\n"
    )


def prepare(log_path: str | os.PathLike[str], threads: int, limit: int, start_delay: float) -> Path:
    """Check every argument, create the log's folder, and empty the log, so that errors are raised before threads start.

    Raises:
        TypeError: An argument has the wrong type (a bool is not accepted as a number).
        ValueError: threads < 1, limit < 0, or the start delay is negative or not finite.
        OSError: The log cannot be written. The subclass is the system's (IsADirectoryError, PermissionError, ...).
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
    """Truncate a log that ends within an entry to the end of its last whole entry."""
    start = max(0, log.seek(0, os.SEEK_END) - 4096)  # an entry is far shorter than this
    log.seek(start)
    end = log.readall().rfind(b"\n\n")
    log.truncate(start + end + 2 if end >= 0 else 0)
