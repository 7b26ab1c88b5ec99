"""The progress of what takes long, on a terminal."""

import pytest

from ..measure.duel import Progress

EVERY = 0.5  # seconds


def progress_of(config: pytest.Config, name: str) -> Progress | None:
    """Return a function that shows a duel's pairs and seconds in the terminal's last line; None without a terminal."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None or not reporter.isatty:
        return None
    capture = config.pluginmanager.getplugin("capturemanager")
    last = 0.0

    def progress(pairs: int, seconds: float) -> None:
        nonlocal last
        if seconds < last + EVERY:
            return
        last = seconds
        with capture.global_and_fixture_disabled():
            reporter.rewrite(f"{name}: {pairs} pairs in {seconds:.0f} s", erase=True)

    return progress


def announce(config: pytest.Config, text: str) -> None:
    """Show what takes long in the terminal's last line, if there is a terminal."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None and reporter.isatty:
        with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            reporter.rewrite(text, erase=True)
