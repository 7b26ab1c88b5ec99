"""A pytest plugin that runs tests of `against` in the tree of another revision, and records what their work does.

It is copied out and run there, beside whatever gate that revision has: the fixture is replaced by one that records, and
its tests run although nothing is compared. It imports nothing from the rest of this package, see `compare.work`.

What is recorded is added to the file at once, one JSON object per line, so that a process that dies leaves the rest.
"""

import functools
import importlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from .entries import entry, unsupported
from .observe import observe, timed

VARIABLE = "GATE_RECORDER"  # names a JSON file with the ids of the `tests`, and with the file to write, `output`
FIXTURE = "against"
WANTED = pytest.StashKey[Iterable[pytest.Item]]()  # chosen before the gate of that revision deselects them


@functools.cache
def _request() -> dict[str, Any]:
    request: dict[str, Any] = json.loads(Path(os.environ[VARIABLE]).read_text(encoding="utf-8"))
    return request


def _write(**line: object) -> None:
    with Path(_request()["output"]).open("a", encoding="utf-8") as output:
        output.write(json.dumps(line) + "\n")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Choose the tests."""
    wanted = set(_request()["tests"])
    session.stash[WANTED] = [item for item in items if item.nodeid in wanted]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Run these and no others."""
    session.items[:] = session.stash.get(WANTED, [])
    _write(collected=[item.nodeid for item in session.items])


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> object:
    """Replace the gate's fixture. One that is built on top of it stays as it is."""
    if fixturedef.argname != FIXTURE or FIXTURE in fixturedef.argnames:
        return None
    recording = _recording(request.node.nodeid)
    fixturedef.cached_result = (recording, getattr(request, "param", None), None)
    return recording


def _recording(test: str) -> Callable[..., None]:
    """Return what stands in for the fixture; the arguments after the first three are those of its time."""

    def record(package: str, variant: str, build: Callable[[Any], Callable[[], Any]], *_: object, **__: object) -> None:
        found = entry(importlib.import_module(package), variant)
        if found is None:
            raise AssertionError(f"{package} has neither a variant nor an attribute {variant!r}")
        if reason := unsupported(found):
            pytest.skip(reason)
        _write(test=test, observation=observe(timed(build(found))).to_dict())
        pytest.skip("its work is recorded")  # what follows in the test is about a comparison

    return record


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Note why a test was not recorded; of one that was, the reader takes the record."""
    if call.excinfo is not None:
        _write(test=item.nodeid, reason=_why(call.excinfo.value, call.excinfo.exconly(tryshort=True)))


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note a module that cannot be collected."""
    if report.failed:
        _write(below=report.nodeid, reason=_why(None, report.longreprtext))


def _why(error: BaseException | None, text: str) -> str:
    """Return one line of why something failed or was skipped."""
    if isinstance(error, pytest.skip.Exception):
        return f"it is skipped there: {error.msg}"
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no reason given"]
    named = [line[1:].strip() for line in lines if line.startswith("E  ")]
    return (named or lines[:1])[-1]
