"""Fifteen threads count together to exactly 100,000 and log every increment.

Each increment writes one entry to the log: the count and the number of the thread that reached it, the wall clock, and
then, read a second time, the count and the thread. The original tests the count, opens the log, increments and writes,
all without a lock: it overshoots, and the first and last line of an entry can differ. A variant takes the log's path,
empties the log, and returns a `CounterResult`; `check_log` reads the log back and reports everything that is wrong.
"""

from ..variant import Promise, Variant
from . import baseline, locked, optimised, sequential
from .check import LogReport, check_log
from .log import CounterResult

__all__ = ["COMPLETE_LOG", "ORDERED_LOG", "VARIANTS", "WHOLE_ENTRIES", "CounterResult", "LogReport", "check_log"]

# Each promise includes the one before.
WHOLE_ENTRIES = Promise("whole entries")
"""At least as many entries as the limit, none of them malformed. Counts may repeat, contradict or overshoot."""
COMPLETE_LOG = Promise("complete log")
"""Every count from 1 to the limit exactly once and consistent, in any order."""
ORDERED_LOG = Promise("ordered log")
"""A complete log with ascending counts."""

VARIANTS: dict[str, Variant[..., CounterResult]] = {
    "baseline": Variant(baseline.run, WHOLE_ENTRIES),
    "locked": Variant(locked.run, COMPLETE_LOG),
    "sequential": Variant(sequential.run, ORDERED_LOG),
    "optimised": Variant(optimised.run, ORDERED_LOG, best=True),
}
