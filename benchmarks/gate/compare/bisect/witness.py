"""A pytest plugin that writes down what happened to each test, and which packages of two revisions were loaded.

It is copied out and run beside the gate of another revision. It imports nothing from this package, which may have
another form there.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

VARIABLE = "GATE_WITNESS"  # names the file to write
SUFFIX = "GATE_WITNESS_SUFFIX"  # of the names under which the other revision's packages are loaded

_failures: dict[str, str] = {}
_skips: dict[str, str] = {}


def _message(report: Any) -> str:
    """Return the first line of why a test failed or was skipped."""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = str(crash.message if crash else report.longrepr).strip().splitlines()
    named = [line.removeprefix("E").strip() for line in lines if line.startswith("E  ")]
    return (named[-1] if named else lines[0] if crash and lines else lines[-1] if lines else "no reason given").strip()


@pytest.hookimpl(optionalhook=True)
def pytest_gate_compares_work() -> bool:
    """Leave the benchmarks' own work alone: all commits of a search run the same benchmarks."""
    return False


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note a module that cannot be collected."""
    if report.failed:
        _failures[report.nodeid] = _message(report)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note a test that fails or is skipped, in any of its phases."""
    if report.failed:
        _failures.setdefault(report.nodeid, _message(report))
    elif report.skipped:
        _skips[report.nodeid] = _message(report)


def pytest_unconfigure() -> None:
    """Write it all down."""
    suffix = os.environ[SUFFIX]
    packages = {}
    for alias in [name for name in sys.modules if "." not in name and name.endswith(suffix)]:
        name = alias.removesuffix(suffix)
        package = sys.modules.get(name)
        # The first path is the one that is searched first, where a package without __init__.py has several.
        packages[name] = str(next(iter(getattr(package, "__path__", [])), getattr(package, "__file__", "")))
    found = {"failures": _failures, "skips": _skips, "packages": packages}
    Path(os.environ[VARIABLE]).write_text(json.dumps(found), encoding="utf-8")
