"""One side of a comparison, in a process of its own: pytest runs the benchmarks of one module in the side's own tree.

The referee (the session that compares) starts one process for each side and lets one of them run at a time. Messages
are tuples over a pipe; `plugin.side` is the other end:

    from the side                              from the referee
    ("collected", ids of its tests)
    ("arrived", test)                          "run", or "pass over"
    ("ready",) or ("refused", Refusal)         ("call",), ("batch", iterations), "end"
    ("done", Parcel), ("done", Parcel, wall, CPU)
    ("raised", exception, traceback)
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, Literal

from ..measure.timing import Batch
from .results import Parcel, Receiver

PATIENCE = 10  # seconds that a process gets to end by itself
LAST_LINES = 15  # of a process's output, in a message about its end

Kind = Literal["absent", "skipped", "unsupported", "raised"]


class SideError(Exception):
    """A side's process cannot go on; the message says which, and has the end of its output."""


@dataclass(frozen=True)
class Refusal:
    """Why a side does not run a test.

    Attributes:
        kind: "absent" if it has no such test or variant.
        reason: in words.
        error: the exception that building the work raised.
    """

    kind: Kind
    reason: str
    error: BaseException | None = None


class SideProcess:
    """A process that runs one side's tests. It is a `Side`: `run_duel` measures it between `begin` and `end`."""

    def __init__(
        self, name: str, tree: Path, tests: Sequence[str], options: Sequence[str], caches: Mapping[str, Path]
    ) -> None:
        """Start it. Call `collect` before anything else.

        Args:
            name: of the side, in messages.
            tree: where pytest runs.
            tests: ids of the tests, all in one module, in the order of the referee's calls of `begin`.
            options: more of pytest's.
            caches: environment variables that name folders for what its code keeps between processes.
        """
        self.name = name
        self._pipe, theirs = Pipe()
        self._output = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed below
        module = tests[0].partition("::")[0]
        link = ["--gate-side", str(theirs.fileno()), "-s", "-p", "no:cacheprovider", "--rootdir", str(tree)]
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, and no shell
            [sys.executable, "-m", "pytest", *link, *options, module],
            cwd=tree,
            env=_environment(tree, caches),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            pass_fds=[theirs.fileno()],
            process_group=0,  # so that it can be stopped with its children, and ends when the referee is killed
        )
        theirs.close()
        self._tests = tuple(tests)
        self._received = Receiver()
        self._collected: frozenset[str] = frozenset()

    def collect(self) -> None:
        """Wait until the process has collected its tests; it is closed if it cannot.

        Raises:
            SideError: The tests cannot be collected.
        """
        try:
            self._send(self._tests)
            _, self._collected = self._receive()
        except SideError:
            self.close()
            raise

    def begin(self, test: str) -> Refusal | None:
        """Have the process build a test's work. Tests before it that were not begun are passed over.

        Raises:
            SideError: The process has ended.
        """
        if test not in self._collected:
            return Refusal("absent", f"{self.name} has no {test}")
        while self._receive()[1] != test:
            self._send("pass over")
        self._send("run")
        kind, *more = self._receive()
        return more[0] if kind == "refused" else None

    def call(self) -> Any:
        """Call the work once, untimed, and return its result.

        Raises:
            SideError: The process has ended. Exceptions of the work propagate.
        """
        (parcel,) = self._ask(("call",))
        return self._unpack(parcel)

    def batch(self, iterations: int) -> Batch:
        """Call the work that many times.

        Raises:
            SideError: The process has ended. Exceptions of the work propagate.
        """
        parcel, wall, cpu = self._ask(("batch", iterations))
        return Batch(wall, cpu, self._unpack(parcel))

    def end(self) -> None:
        """Let the process go on to its next test."""
        self._wake()
        self._send("end")

    def close(self) -> None:
        """End the process and its children."""
        self._pipe.close()
        self._wake()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._output.close()

    def _ask(self, request: tuple[Any, ...]) -> Any:
        """Make one request. Before and after it the process is stopped, so that no thread of it disturbs the other."""
        self._wake()
        self._send(request)
        kind, *more = self._receive()
        self._signal(signal.SIGSTOP)
        if kind == "raised":
            error, trace = more
            error.add_note(f"in the process of {self.name}:\n{trace}")
            raise error
        return more

    def _unpack(self, parcel: Parcel) -> Any:
        try:
            return self._received.unpack(parcel)
        except (AttributeError, ImportError) as error:
            raise SideError(f"the result of {self.name} is of a type that this tree does not have: {error}") from error

    def _wake(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):  # it has ended; macOS says the latter of a zombie
            return

    def _send(self, message: Any) -> None:
        try:
            self._pipe.send(message)
        except OSError:
            raise self._ended() from None

    def _receive(self) -> tuple[Any, ...]:
        try:
            message: tuple[Any, ...] = self._pipe.recv()
        except (EOFError, OSError):
            raise self._ended() from None
        return message

    def _ended(self) -> SideError:
        self._output.flush()
        self._output.seek(0)
        output = "\n".join(self._output.read().strip().splitlines()[-LAST_LINES:])
        return SideError(f"the process of {self.name} has ended:\n{output}")


def _environment(tree: Path, caches: Mapping[str, Path]) -> Mapping[str, str]:
    path = os.pathsep.join(filter(None, (str(tree), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, **{name: str(folder) for name, folder in caches.items()}}
    for name in ("PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        environment.pop(name, None)
    return environment


def connect(descriptor: int) -> Connection:
    """Return the side's end of the pipe; processes that the side starts do not get it."""
    os.set_inheritable(descriptor, False)
    return Connection(descriptor)
