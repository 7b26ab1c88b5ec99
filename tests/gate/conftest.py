"""What the gate's tests share."""

from functools import partial

import pytest

from benchmarks.gate.measure.duel import run_duel
from benchmarks.gate.measure.workloads import slowed

# Loaded here, selfcheck is one module for all runs within a process: pytester forgets what a run has imported.
from benchmarks.gate.plugin import selfcheck  # noqa: F401
from benchmarks.gate.plugin.session import CANARY, CONTROL

from .duel_suite import suite  # noqa: F401 - a fixture
from .toy_dependency import bump, cache, wheels  # noqa: F401 - fixtures
from .toy_suite import CASE, INI, SLEEP, SUITE, commit, git


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


@pytest.fixture
def repository(pytester, monkeypatch, request, quick_self_checks):
    """A commit of a package with two variants and their benchmark; returns what writes the case anew."""
    monkeypatch.setattr("pytest_benchmark.plugin.get_cpu_info", dict)  # it takes a second
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # the processes start in half the time
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    pytester.makeini(INI)
    pytester.mkpydir("toylib")
    for folder in ("toylib/case", "suite"):
        (pytester.path / folder).mkdir()
    case, module = pytester.path / "toylib/case/__init__.py", pytester.path / "suite/test_toy.py"

    def write(other=SLEEP, text=CASE, benchmarks=SUITE):
        case.write_text(text.format(other=other))
        module.write_text(benchmarks)

    write()
    (pytester.path / ".gitignore").write_text("__pycache__\n.pytest_cache\n.benchmarks\n")
    git(pytester, "init", "-q")
    git(pytester, "add", "-A")
    commit(pytester, "first")
    return write
