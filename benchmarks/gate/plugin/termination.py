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


def _end(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
    pytest.exit("terminated (SIGTERM): what was measured is reported, and the rest is missing", STATUS)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Handle the signal, where nothing else does. Processes of a side, or that confirm, end at once."""
    config, gate = session.config, session.config.stash[SESSION]
    of_another = gate.link or gate.settings.confirming or hasattr(config, "workerinput")
    if of_another or threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return
    signal.signal(signal.SIGTERM, _end)
    config.stash[HANDLES] = True


def pytest_unconfigure(config: pytest.Config) -> None:
    """Handle it no longer."""
    if config.stash.get(HANDLES, False):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


# A forked child must end at once. Python forgets a signal that arrives while it forks, so the signal waits meanwhile.
_masks = threading.local()


def _before_fork() -> None:
    _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _in_parent() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def _in_child() -> None:
    if signal.getsignal(signal.SIGTERM) is _end:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _in_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
