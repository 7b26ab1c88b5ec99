"""A limit of memory: requests are refused near it, so that the process is not killed at it."""

import time
from pathlib import Path

import psutil

__all__ = ["LARGEST_SHARE", "MemoryGuard", "limit_of_the_container"]

LARGEST_SHARE = 0.9  # of the limit; what is admitted already may need the rest
FRESH = 0.02  # seconds for which a reading is used
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of version 2 and 1


def limit_of_the_container(paths: tuple[str, ...] = LIMITS) -> int | None:
    """Return the limit in bytes that a control group sets for this process, None if there is none.

    A limit of more than the machine has is none: version 1 writes a very large number for "max".
    """
    for path in paths:
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < psutil.virtual_memory().total:
            return int(text)
    return None


class MemoryGuard:
    """Says whether there is memory for another request.

    Attributes:
        limit: In bytes; None for no limit.
    """

    def __init__(self, limit: int | None) -> None:
        """Set the limit."""
        self.limit = limit
        self._process = psutil.Process()
        self._used, self._read = 0, 0.0

    @property
    def used(self) -> int:
        """The bytes that this process holds in memory, read at most every FRESH seconds."""
        now = time.monotonic()
        if now - self._read > FRESH:
            self._used, self._read = self._process.memory_info().rss, now
        return self._used

    @property
    def low(self) -> bool:
        """Whether no more requests should be admitted."""
        return self.limit is not None and self.used > LARGEST_SHARE * self.limit
