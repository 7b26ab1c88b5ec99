"""What a person at a terminal sees of a run as a whole: its progress, and its last lines."""

import time
from collections.abc import Generator

import pytest

from ..report.closing import Ending, closing
from .progress import show_progress
from .session import SESSION

STARTED = pytest.StashKey[float]()


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Show the progress from now on."""
    config, gate = session.config, session.config.stash[SESSION]
    config.stash[STARTED] = time.monotonic()
    if not (gate.link or gate.settings.confirming or config.getoption("collectonly")):
        show_progress(config, gate.known_seconds)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None]:
    """End with a few lines that one can act on, below everything else that pytest and its plugins show."""
    try:
        return (yield)
    finally:
        config, gate = session.config, session.config.stash[SESSION]
        reporter = config.pluginmanager.getplugin("terminalreporter")
        measured = gate.findings.duels or gate.findings.compared or gate.findings.memory
        if reporter is not None and measured and not (gate.link or gate.settings.confirming):
            ending = Ending(
                whole=exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED},
                passed=len(reporter.getreports("passed")),
                against=gate.revision.name if gate.revision else None,
                left_out=len(gate.left_out),
                seconds=time.monotonic() - config.stash[STARTED],
            )
            reporter.section("summary")
            for line, colour in closing(gate.findings, ending, reporter._tw.fullwidth):  # noqa: SLF001 - as pytest sees it
                reporter.write_line(line, **({colour: True} if colour else {}))
