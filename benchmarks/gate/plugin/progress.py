"""The progress of a run in a terminal's last line: which test, the time left, how far a duel's bets are.

Nothing is shown in a log, or in a worker of a parallel run.
"""

import time
from collections.abc import Mapping

import pytest

from ..measure.duel import Progress

EVERY = 0.5  # seconds between two lines
SECONDS = "gate/seconds"  # of each test in the last run that had it, in pytest's cache
WARM = 10.0  # seconds after which the time so far says how fast this run is, compared with the last one

# Move down, keeping the column and scrolling where there is no line below; save the place, go to the start and erase.
# Then go back. Terminals have had these sequences since the VT100, and pytest's line of dots stays as it is.
BELOW, BACK = "\033D\0337\r\033[K", "\0338\033M"


class RunProgress:
    """Shows the progress of a run, and leaves the seconds of each test to the next one."""

    def __init__(self, config: pytest.Config, known: Mapping[str, float]) -> None:
        """Take the seconds of tests in an earlier run, by id; those of this machine's last run are preferred."""
        self._config = config
        self._reporter = config.pluginmanager.getplugin("terminalreporter")
        cache = getattr(config, "cache", None)  # absent with -p no:cacheprovider
        self._last: dict[str, float] = cache.get(SECONDS, {}) if cache else {}
        self._known = {**known, **self._last}
        self._cache = cache
        self._tests: list[str] = []
        self._took: dict[str, float] = {}
        self._done: set[str] = set()
        self._began = self._shown = 0.0

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Learn which tests there are."""
        self._tests = list(dict.fromkeys(item.nodeid for item in session.items))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Show which test begins."""
        self._began = time.monotonic()
        self._done.discard(nodeid)  # of duels that take turns, some begin more than once
        self._show(nodeid.rpartition("/")[2], self._began)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Remember how long it took, and clear the line, which pytest's next one would overwrite in part."""
        self._took[nodeid] = self._took.get(nodeid, 0.0) + time.monotonic() - self._began
        self._done.add(nodeid)
        self._write("")

    def pytest_sessionfinish(self) -> None:
        """Leave the seconds to the next run."""
        if self._cache:
            self._cache.set(SECONDS, {**self._last, **{test: round(took, 3) for test, took in self._took.items()}})

    def of_duel(self, name: str) -> Progress:
        """Return what `run_duel` calls after each check."""

        def progress(pairs: int, seconds: float, evidence: float) -> None:
            now = time.monotonic()
            if now >= self._shown + EVERY:
                self._show(f"{name}: {pairs} pairs in {seconds:.0f} s, {evidence:.0%} of the evidence", now)

        return progress

    def announce(self, text: str) -> None:
        """Show what takes long."""
        self._show(text, time.monotonic())

    def _show(self, text: str, now: float) -> None:
        self._shown = now
        left = remaining(self._tests, self._done, self._took, self._known)
        time_left = "" if left is None else f", about {_rounded(left - (now - self._began))} left"
        place = f"[{min(len(self._done) + 1, len(self._tests))}/{len(self._tests)}{time_left}] " if self._tests else ""
        self._write(place + text)

    def _write(self, text: str) -> None:
        width = self._reporter._tw.fullwidth - 1  # noqa: SLF001 - the terminal's, as pytest sees it
        with self._config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            self._reporter.write_raw(f"{BELOW}{text[:width]}{BACK}", flush=True)


def remaining(tests: list[str], done: set[str], took: Mapping[str, float], known: Mapping[str, float]) -> float | None:
    """Return the seconds that the tests which are not done will take; None if an earlier run has too few of them.

    Args:
        tests: ids of all tests.
        done: those that are done.
        took: seconds so far in this run, by id.
        known: seconds in an earlier run, by id; of another machine, perhaps.
    """
    ahead = [test for test in tests if test not in done]
    of_known = [known[test] for test in ahead if test in known]
    if not ahead or 2 * len(of_known) < len(ahead):
        return None
    # A test that is new takes as long as the others do on average.
    expected = sum(of_known) * len(ahead) / len(of_known)
    compared = [(took[test], known[test]) for test in done if test in known and test in took]
    here, there = sum(pair[0] for pair in compared), sum(pair[1] for pair in compared)
    return expected * here / there if there > 0 and here >= WARM else expected


def _rounded(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"


def progress_of(config: pytest.Config, name: str) -> Progress | None:
    """Return a function that shows a duel's progress; None without a terminal."""
    shown = config.pluginmanager.getplugin(RunProgress.__name__)
    return shown.of_duel(name) if shown else None


def announce(config: pytest.Config, text: str) -> None:
    """Show what takes long, if there is a terminal."""
    if shown := config.pluginmanager.getplugin(RunProgress.__name__):
        shown.announce(text)


def show_progress(config: pytest.Config, known: Mapping[str, float]) -> None:
    """Show the progress of this run, if there is a terminal: `known` has the seconds of tests in a saved run."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    capture = config.pluginmanager.getplugin("capturemanager")
    if reporter is None or capture is None or not reporter.isatty or hasattr(config, "workerinput"):
        return
    if not getattr(config.option, "numprocesses", None):
        config.pluginmanager.register(RunProgress(config, known), RunProgress.__name__)
