"""What a person at a terminal sees of a run as a whole: its progress, and its last lines."""

import time
from collections.abc import Generator

import pytest

from ..report.closing import Ending, closing
from .progress import show_progress
from .session import SESSION

# What decides a verdict. pytest takes some values as the next word; `make` and README write them with "=".
DECISIVE = (
    "--against",
    "--benchmark-compare",
    "--full",
    "--starts",
    "--strict",
    "--tolerance",
    "--blind",
    "--alpha",
    "--same-machine",
)
STARTED = pytest.StashKey[float]()


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Show the progress from now on."""
    config, gate = session.config, session.config.stash[SESSION]
    config.stash[STARTED] = time.monotonic()
    if not (gate.link or gate.settings.confirming or config.getoption("collectonly")):
        show_progress(config, gate.known_seconds)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """End with a few lines that one can act on, below everything else that pytest and its plugins show."""
    ended = False
    try:
        yield
        ended = True
    finally:
        config, gate = session.config, session.config.stash[SESSION]
        reporter = config.pluginmanager.getplugin("terminalreporter")
        measured = gate.findings.duels or gate.findings.compared or gate.findings.memory
        if reporter is not None and measured and not (gate.link or gate.settings.confirming):
            ending = Ending(
                whole=ended and (session.exitstatus == pytest.ExitCode.OK or bool(gate.findings.failures)),
                passed=len(reporter.getreports("passed")),
                options=[argument for argument in config.invocation_params.args if argument.startswith(DECISIVE)],
                left_out=len(gate.left_out),
                seconds=time.monotonic() - config.stash[STARTED],
            )
            reporter.section("summary")
            for line, colour in closing(gate.findings, ending, reporter._tw.fullwidth):  # noqa: SLF001 - as pytest sees it
                reporter.write_line(line, **({colour: True} if colour else {}))
