"""How many cores there are to use."""

import os

__all__ = ["usable_cores"]


def usable_cores() -> int:
    """Return the number of cores this process may run on, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS and Windows
