"""What runs in a side's process (`compare.side_process`): it builds a test's work, and measures it when asked to."""

import importlib
import traceback
from collections.abc import Callable, Generator
from typing import Any

import pytest

from ..compare.results import Sender
from ..compare.side_process import Kind, Refusal, connect
from ..measure.timing import InProcess, Work, settled_memory


class Link:
    """A plugin that keeps a side's session in step with the referee's.

    Every test waits at its beginning until the referee has arrived at the same one. The fixture `against` then offers
    its work (`offer`).
    """

    def __init__(self, descriptor: int) -> None:
        """Take the pipe's file descriptor, and receive the ids of the tests."""
        self._pipe = connect(descriptor)
        self._tests: tuple[str, ...] = self._receive()
        self._results = Sender()
        self._awaited = False  # whether the referee waits for this test's work

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> Generator[None]:
        """Keep the referee's tests, in its order. After an error pytest ends, and the referee reads why."""
        yield
        if session.testsfailed:
            return
        found = {item.nodeid: item for item in items}
        items[:] = [found[test] for test in self._tests if test in found]
        self._pipe.send(("collected", frozenset(item.nodeid for item in items)))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Wait for the referee."""
        self._pipe.send(("arrived", item.nodeid))
        self._awaited = self._receive() == "run"
        if not self._awaited:
            pytest.skip("passed over")

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
                self.refuse("raised", report.longreprtext, call.excinfo.value if call.excinfo else None)
        return report

    def refuse(self, kind: Kind, reason: str, error: BaseException | None = None) -> None:
        """Say that there is no work, and why."""
        self._awaited = False
        self._pipe.send(("refused", Refusal(kind, reason, error and _portable(error))))

    def serve(self, build: Callable[[], Work]) -> None:
        """Build work, and run it as the referee says until it says "end"."""
        side = InProcess(build(), collects=True)
        self._awaited = False
        self._pipe.send(("ready",))
        with settled_memory():
            while (request := self._receive()) != "end":
                self._answer(side, *request)

    def _answer(self, side: InProcess, kind: str, *arguments: Any) -> None:
        try:
            if kind == "call":
                answer: tuple[Any, ...] = (self._results.pack(side.call()),)
            else:
                batch = side.batch(*arguments)
                answer = self._results.pack(batch.result), batch.wall, batch.cpu
        except (Exception, pytest.skip.Exception) as error:  # noqa: BLE001 - the referee raises it
            self._pipe.send(("raised", _portable(error), traceback.format_exc()))
        else:
            self._pipe.send(("done", *answer))

    def _receive(self) -> Any:
        try:
            return self._pipe.recv()
        except EOFError:
            pytest.exit("the referee has ended", returncode=0)


def offer(link: Link, package: str, variant: str, build: Callable[[Any], Work]) -> None:
    """Serve a variant's work, or say why there is none."""
    variants = getattr(importlib.import_module(package), "VARIANTS", {})
    if variant not in variants:
        link.refuse("absent", f"there is no variant {variant}")
    elif reason := _unsupported(variants[variant]):
        link.refuse("unsupported", reason)
    else:
        link.serve(lambda: build(variants[variant]))


def _unsupported(variant: Any) -> str | None:
    """Return why this machine cannot run a variant; None if it can, or if the variant has no answer."""
    unsupported = getattr(variant, "unsupported", None)
    reason = unsupported() if callable(unsupported) else None
    return None if reason is None else str(reason)


def _portable(error: BaseException) -> BaseException:
    """Return an exception that the referee can read, whatever classes its tree has."""
    if type(error).__module__ == "builtins":
        return error
    return RuntimeError(f"{type(error).__qualname__}: {error}")
