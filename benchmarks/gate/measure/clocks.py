"""CPU time: what a process, its threads and its children have used.

Neighbours in the same system take wall time and little CPU time. What happens on a virtual machine's host is in both.
"""

import contextlib
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import resource

# A coarser clock would give both sides of a pair the same time and so prove them equal.
FINE_ENOUGH = time.get_clock_info("process_time").resolution <= 1e-5


def own_seconds() -> float:
    """Return user and system time of all threads of this process; not a number where the clock is too coarse."""
    return time.process_time() if FINE_ENOUGH else math.nan


def children_seconds() -> float:
    """Return user and system time of this process's descendants, ended ones that were waited for included.

    Living ones are read on Linux only: from /proc, and from the clock that clock_getcpuclockid(3) names for a process.
    """
    if sys.platform == "win32":
        return 0.0  # nothing is read there
    waited = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = waited.ru_utime + waited.ru_stime
    for process in _living("self"):
        with contextlib.suppress(OSError):  # it has ended since, and is among those that were waited for
            total += time.clock_gettime((~process << 3) | 2)
    return total


def _living(process: str | int) -> Iterator[int]:
    """Yield the ids of all descendants of a process."""
    with contextlib.suppress(OSError):  # the process has ended, or the system has no such files
        for thread in Path(f"/proc/{process}/task").iterdir():
            for child in (thread / "children").read_text(encoding="ascii").split():
                yield int(child)
                yield from _living(child)
