"""The number of cores that this process may use."""

import os

__all__ = ["usable_cores"]


def usable_cores() -> int:
    """Return the number of cores that this process may run on, at least 1.

    It can be smaller than the number of cores of the machine: an affinity mask counts, and so does PYTHON_CPU_COUNT
    from Python 3.13 on.
    """
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS and Windows
