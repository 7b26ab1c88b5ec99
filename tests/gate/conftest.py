"""What the gate's tests share."""

from functools import partial

import pytest

from benchmarks.gate.measure.duel import run_duel
from benchmarks.gate.measure.workloads import slowed

# Loaded here, selfcheck is one module for all runs within a process: pytester forgets what a run has imported.
from benchmarks.gate.plugin import selfcheck  # noqa: F401
from benchmarks.gate.plugin.session import CANARY, CONTROL


@pytest.fixture(autouse=True)
def no_xdist_worker(monkeypatch):
    """Let the runs within a test measure: pytest-benchmark does not in a worker of pytest-xdist, which they are not."""
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(name, raising=False)


class QuickSelfChecks:
    """A plugin that shortens control and canary, for tests of other things: least pairs, and 50 % for 5."""

    def pytest_gate_runner(self):
        return self.run

    def run(self, name, reference, candidate, questions, **settings):
        if name == CONTROL:
            settings["budget"] = 0
        if name == CANARY:
            candidate = slowed(reference, 0.5)
        return run_duel(name, reference, candidate, questions, **settings)


@pytest.fixture
def quick_self_checks(pytester, monkeypatch):
    """Shorten the self-checks of the runs in this process; clear the list that this returns for the real ones."""
    plugins = [QuickSelfChecks()]
    monkeypatch.setattr(pytester, "inline_run", partial(pytester.inline_run, plugins=plugins))
    return plugins
