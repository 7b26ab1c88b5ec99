"""A run that is terminated (SIGTERM) ends as one that is interrupted: with all that it has measured, and never green.

A limit of time sends that signal: `timeout`, a job's limit, a machine that shuts down. An hour of measurements would be
lost with it.
"""

import os
import signal
import threading
from types import FrameType

import pytest

from .session import SESSION

STATUS = 128 + signal.SIGTERM  # as a shell says it
HANDLES = pytest.StashKey[bool]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Handle the signal, where nothing else does. Processes of a side, or that confirm, end at once."""
    config, gate = session.config, session.config.stash[SESSION]
    of_another = gate.link or gate.settings.confirming or hasattr(config, "workerinput")
    if of_another or threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return
    process = os.getpid()

    def end(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
        if os.getpid() != process:  # a child that was forked, and is meant to end
            os.kill(os.getpid(), number)
        pytest.exit("terminated (SIGTERM): what was measured is reported, and the rest is missing", STATUS)

    signal.signal(signal.SIGTERM, end)
    config.stash[HANDLES] = True


def pytest_unconfigure(config: pytest.Config) -> None:
    """Handle it no longer."""
    if config.stash.get(HANDLES, False):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
