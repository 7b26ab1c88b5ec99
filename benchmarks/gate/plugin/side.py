"""What runs in a side's process (`compare.side_process`): it builds a test's work, and measures it when asked to."""

import importlib
import pickle
import traceback
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from _pytest.outcomes import Skipped

from ..compare.places import elsewhere
from ..compare.results import Sender
from ..compare.side_process import Kind, Refusal, connect
from ..compare.work.entries import entry, unsupported
from ..measure.profile import Profiler
from ..measure.timing import InProcess, Work, settled_memory


class Served(Skipped):
    """The side has measured what it was asked to; the rest of the test is the referee's."""


class Link:
    """A plugin that runs a test when the referee asks for it. Its fixture `against` then offers the work (`offer`)."""

    def __init__(self, descriptor: int) -> None:
        """Take the pipe's file descriptor."""
        self._pipe = connect(descriptor)
        self._results = Sender()
        self._awaited = False  # whether the referee waits for this test's work

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Run the tests that the referee asks for. After an error of the collection pytest ends and says why."""
        if session.testsfailed:
            return None
        items = {item.nodeid: item for item in session.items}
        self._pipe.send(("collected", frozenset(items)))
        while (message := self._receive()) is not None:
            item = items[message[1]]
            self._awaited = True
            # The module's own fixtures stay until the end, as it is not known which test comes next.
            item.ihook.pytest_runtest_protocol(item=item, nextitem=item.parent)
            self._pipe.send(("ended",))
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Refuse a test that ends before it has offered its work."""
        report = yield
        if self._awaited and (report.when == "call" or not report.passed):
            if report.skipped:
                self.refuse("skipped", str(call.excinfo.value) if call.excinfo else "")
            else:
                reason = report.longreprtext or "the test ends and has not called `against`"
                self.refuse("raised", reason, call.excinfo.value if call.excinfo else None)
        return report

    def refuse(self, kind: Kind, reason: str, error: BaseException | None = None) -> None:
        """Say that there is no work, and why. The referee then says "end", as it does after work."""
        self._awaited = False
        self._pipe.send(("refused", Refusal(kind, reason, error and _portable(error))))
        self._receive()

    def serve(self, build: Callable[[], Work]) -> None:
        """Build work, and run it as the referee says until it says "end"."""
        side = InProcess(build(), collects=True)
        profiler = Profiler(side.work)
        self._awaited = False
        self._pipe.send(("ready",))
        with settled_memory():
            while (request := self._receive()) is not None and request[0] != "end":
                self._answer(side, profiler, *request)

    def _answer(self, side: InProcess, profiler: Profiler, kind: str, *arguments: Any) -> None:
        try:
            if kind == "call":
                answer: tuple[Any, ...] = (self._results.pack(side.call()),)
            elif kind == "profile":
                method, *of_method = arguments
                answer = (getattr(profiler, method)(*of_method),)
            else:
                batch = side.batch(*arguments)
                answer = self._results.pack(batch.result), batch.wall, batch.cpu
        except (Exception, pytest.skip.Exception) as error:  # noqa: BLE001 - the referee raises it
            self._pipe.send(("raised", _portable(error), traceback.format_exc()))
        else:
            self._pipe.send(("done", *answer))

    def _receive(self) -> Any:
        """Return the referee's next message, or None when it wants no more."""
        try:
            return self._pipe.recv()
        except (EOFError, OSError):
            return None


def offer(link: Link, request: pytest.FixtureRequest, package: str, name: str, build: Callable[[Any], Work]) -> None:
    """Serve a variant's or attribute's work, or say why there is none.

    Raises:
        Served: It was served, or refused.
        RuntimeError: The package is not that of the side's tree.
    """
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        if not f"{package}.".startswith(f"{error.name}."):  # the package is there, and what it imports is not
            raise
        link.refuse("absent", f"there is no {package}")
        raise Served("served") from None
    root, benchmarks = request.config.rootpath, request.node.path.parent
    if origin := elsewhere(importlib.import_module(package.partition(".")[0]), root):
        raise RuntimeError(f"{package} is imported from {origin} and not from {root}: the lock must not install it")
    if benchmarks != root and Path(module.__file__ or root).is_relative_to(benchmarks):
        raise RuntimeError(
            f"{package} lies among the benchmarks, in {benchmarks.name}/, and both sides have this tree's benchmarks: "
            "no change of it would count. Give the benchmarks a folder of their own"
        )
    found = entry(module, name)
    if found is None:
        link.refuse("absent", f"{package} has neither a variant nor an attribute {name!r}")
    elif reason := unsupported(found):
        link.refuse("unsupported", reason)
    else:
        link.serve(lambda: build(found))
    raise Served("served")


def _portable(error: BaseException) -> BaseException:
    """Return an exception that the referee can read, whatever classes its tree has."""
    known = type(error).__module__ == "builtins" and not isinstance(error, BaseExceptionGroup)
    with suppress(Exception):
        if known and pickle.dumps(error):  # pytest's own exceptions say that they are built in
            return error
    return RuntimeError(f"{type(error).__qualname__}: {error}")
