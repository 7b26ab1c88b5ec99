"""Fifteen threads count together to exactly 100,000 and log every increment.

Each increment writes one entry to the log: the count and the thread that reached it, the wall clock, and, after that
moment, the count and the thread again. The original tests, opens the log, increments and writes without a lock: it
overshoots, and what an entry says first and last can differ. A variant takes the log's path, empties the log, and
returns a `CounterResult`; `check_log` reads the log back and says everything that is wrong with it.
"""

from collections.abc import Callable

from . import baseline, locked, optimised, sequential
from .check import LogReport, check_log
from .log import CounterResult

VARIANTS: dict[str, Callable[..., CounterResult]] = {
    "baseline": baseline.run,
    "locked": locked.run,
    "sequential": sequential.run,
    "optimised": optimised.run,
}

__all__ = ["VARIANTS", "CounterResult", "LogReport", "check_log"]
