"""Turns: the duels with another revision share one time limit, and what is decided leaves its time to the others.

A duel that is open at the end of its turn waits for another one: its test ends without a result, and is run again after
all others. What it measured is kept, and the next turn adds to it. When the time is over, each open duel is judged by
what it has.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from _pytest.outcomes import Skipped
from _pytest.runner import runtestprotocol

from ..measure.duel import Duel

LEAST_TURN = 5.0  # seconds; a shorter one is hardly more than the preparation of both sides


class Deferred(Skipped):
    """The duel is open and waits for another turn. pytest never reports it: the test runs again."""


@dataclass
class Turns:
    """The time that duels share.

    Attributes:
        seconds: of all turns, preparation and confirmation included, from the first on.
        waiting: ids of the tests without a verdict.
        duels: what they have measured, by id.
        deferred: ids of the tests that have just ended without a result.
    """

    seconds: float
    waiting: set[str]
    duels: dict[str, Duel] = field(default_factory=dict)
    deferred: set[str] = field(default_factory=set)
    _end: float | None = None

    @classmethod
    def of(cls, minutes: float, tests: Iterable[str]) -> "Turns":
        """Return the turns of these tests."""
        return cls(60 * minutes, set(tests))

    @property
    def left(self) -> float:
        """Return the seconds that are left. The first one to ask starts the clock."""
        now = time.monotonic()
        if self._end is None:
            self._end = now + self.seconds
        return self._end - now

    @property
    def over(self) -> bool:
        """Return whether the time that is left is too short for a turn."""
        return self.left < LEAST_TURN

    def turn(self) -> float:
        """Return the seconds of the next turn: an equal part of what is left, for each duel without a verdict."""
        return max(LEAST_TURN, self.left / max(1, len(self.waiting)))

    def defer(self, test: str, duel: Duel) -> Deferred:
        """Keep what an open duel has measured, and return what its test raises."""
        self.duels[test] = duel
        self.deferred.add(test)
        return Deferred(f"open after {duel.pairs} pairs: waits for another turn")


def run_test(item: pytest.Item, nextitem: pytest.Item | None, turns: Turns, before: int) -> bool:
    """Run one test as pytest does. Return whether it is to run again, as one of the session's items.

    Args:
        item: the test.
        nextitem: the test after it, as pytest's hook `pytest_runtest_protocol` gets both.
        turns: of the session.
        before: how many items at the end of the session's stay behind a test that waits for another turn.
    """
    turns.deferred.discard(item.nodeid)
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    again = item.nodeid in turns.deferred and not any(report.failed for report in reports)
    if again:
        items = item.session.items
        items.insert(len(items) - before, item)
    else:
        turns.waiting.discard(item.nodeid)
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return again
