"""One side of a comparison, in a process of its own: pytest runs the benchmarks of one module in the side's own tree.

The referee (the session that compares) starts one process for each side and lets one of them run at a time. Messages
are tuples over a pipe; `plugin.side` is the other end:

    from the side                              from the referee
    ("collected", ids of its tests)            ("test", id), any number of times and in any order
    ("ready",) or ("refused", Refusal)         ("call",), ("batch", iterations), ("profile", method, arguments...),
    ("done", Parcel), ("done", Parcel, wall, CPU),       or ("end",)
    ("done", what the profiler's method returns)
    ("raised", exception, traceback)
    ("ended",), after ("end",)
"""

import os
import pickle
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, Literal

from ..measure.profile import Kind as ProfileKind
from ..measure.profile import Times
from ..measure.timing import Batch
from .results import Parcel, Receiver

PATIENCE = 10  # seconds that a process gets to end by itself
LAST_LINES = 15  # of a process's output, in a message about its end
NOT_INHERITED = ("PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "PYTHONHOME")

Kind = Literal["absent", "skipped", "unsupported", "raised"]


class SideError(Exception):
    """A side's process cannot go on; the message says which, and has the end of its output."""


@dataclass(frozen=True)
class Refusal:
    """Why a side does not run a test.

    Attributes:
        kind: "absent" if it has no such test, variant or attribute.
        reason: in words.
        error: the exception that building the work raised.
    """

    kind: Kind
    reason: str
    error: BaseException | None = None


class SideProcess:
    """A process that runs one side's tests. It is a `Side`: `run_duel` measures it between `begin` and `end`."""

    def __init__(self, name: str, python: Path, tree: Path, words: Sequence[str], path: Sequence[str]) -> None:
        """Start it. Call `collect` before anything else.

        Args:
            name: of the side, in messages.
            python: the interpreter of its environment.
            tree: where pytest runs.
            words: more of pytest's command line, the module included.
            path: folders to import from, before all others.
        """
        self.name = name
        self._pipe, theirs = Pipe()
        self._output = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed below
        link = ["--gate-side", str(theirs.fileno()), "-s", "-p", "no:cacheprovider", "--rootdir", str(tree)]
        self._process = subprocess.Popen(  # noqa: S603 - an interpreter, and no shell
            [python, "-m", "pytest", *link, *words],
            cwd=tree,
            env=variables_of(python, path),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            pass_fds=[theirs.fileno()],
            process_group=0,  # so that it can be stopped with its children, and ends when the referee is killed
        )
        theirs.close()
        self._received = Receiver()
        self._collected: frozenset[str] = frozenset()
        self._running = False  # a test, from `begin` to `end`

    def collect(self) -> None:
        """Wait until the process has collected its tests; it is closed if it cannot.

        Raises:
            SideError: The tests cannot be collected.
        """
        try:
            _, self._collected = self._receive()
        except SideError:
            self.close()
            raise
        self._signal(signal.SIGSTOP)

    def begin(self, test: str) -> Refusal | None:
        """Have the process build a test's work; return why it does not, or None.

        Raises:
            SideError: The process has ended.
        """
        if test not in self._collected:
            return Refusal("absent", f"{self.name} has no {test}")
        kind, *more = self._exchange(("test", test))
        self._running = True
        return more[0] if kind == "refused" else None

    def call(self) -> Any:
        """Call the work once, untimed, and return its result.

        Raises:
            SideError: The process has ended. Exceptions of the work propagate.
        """
        (parcel,) = self._ask(("call",))
        return self._unpack(parcel)

    def batch(self, iterations: int) -> Batch:
        """Call the work that many times; both clocks are those of the side's own process.

        Raises:
            SideError: The process has ended. Exceptions of the work propagate.
        """
        parcel, wall, cpu = self._ask(("batch", iterations))
        return Batch(wall, cpu, self._unpack(parcel))

    def profiler(self) -> "SideProfiler":
        """Return what profiles the work, in the side's process."""
        return SideProfiler(self._ask)

    def end(self) -> None:
        """End the test that was begun, if one was.

        Raises:
            SideError: The process has ended.
        """
        if self._running:
            self._running = False
            self._exchange(("end",))

    def close(self) -> None:
        """End the process and its children."""
        self._pipe.close()
        self._signal(signal.SIGCONT)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._output.close()

    def _ask(self, request: tuple[Any, ...]) -> Any:
        kind, *more = self._exchange(request)
        if kind == "raised":
            error, trace = more
            error.add_note(f"in the process of {self.name}:\n{trace}")
            raise error
        return more

    def _exchange(self, request: tuple[Any, ...]) -> tuple[Any, ...]:
        """Send a message and return the answer. Before and after it the process is stopped.

        So no thread of it, and no child, disturbs the other side.
        """
        self._signal(signal.SIGCONT)
        try:
            # Not `send`: it pickles into a buffer, and where a process has ended, CPython 3.13 may fail to free that.
            self._pipe.send_bytes(pickle.dumps(request))
        except OSError:
            raise self._ended() from None
        answer = self._receive()
        self._signal(signal.SIGSTOP)
        return answer

    def _unpack(self, parcel: Parcel) -> Any:
        try:
            return self._received.unpack(parcel)
        except (AttributeError, ImportError) as error:
            raise SideError(f"the result of {self.name} is of a type that this tree does not have: {error}") from error

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):  # it has ended; macOS says the latter of a zombie
            return

    def _receive(self) -> tuple[Any, ...]:
        try:
            message: tuple[Any, ...] = self._pipe.recv()
        except (EOFError, OSError):
            raise self._ended() from None
        return message

    def _ended(self) -> SideError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
        killed = self._process.returncode == -signal.SIGKILL
        end = "was killed, which is what Linux does when memory runs out" if killed else "has ended"
        self._output.flush()
        self._output.seek(0)
        output = self._output.read().strip()
        hint = (
            "\nThe gate runs in each side's environment: what it imports has to be installed there too (gate_install)"
            if "ModuleNotFoundError" in output
            else ""
        )
        return SideError("\n".join([f"the process of {self.name} {end}:", *output.splitlines()[-LAST_LINES:]]) + hint)


@dataclass(frozen=True)
class SideProfiler:
    """The profiler of a side's process, see `measure.profile.Profiled`."""

    ask: Callable[[tuple[Any, ...]], Any]

    def seconds(self) -> float:
        """Return the wall time of one call."""
        return float(self._ask("seconds"))

    def has_operators(self) -> bool:
        """Return whether torch is imported in that process."""
        return bool(self._ask("has_operators"))

    def run(self, kind: ProfileKind, calls: int) -> None:
        """Call the work that many times, and add what it did."""
        self._ask("run", kind, calls)

    def times(self, kind: ProfileKind) -> Times:
        """Return the sums over all calls."""
        times: Times = self._ask("times", kind)
        return times

    def _ask(self, method: str, *arguments: Any) -> Any:
        (answer,) = self.ask(("profile", method, *arguments))
        return answer


def variables_of(python: Path, path: Sequence[str] = ()) -> Mapping[str, str]:
    """Return the environment variables of a side's processes: as if its environment were activated.

    Folders of this process's PYTHONPATH are left out: what they have would hide what the environment has.
    """
    inherited = {name: text for name, text in os.environ.items() if name not in NOT_INHERITED}
    commands = [str(python.parent), inherited.get("PATH")]
    return {
        **inherited,
        "VIRTUAL_ENV": str(python.parent.parent),
        "PATH": os.pathsep.join(filter(None, commands)),
        "PYTHONPATH": os.pathsep.join(path),
    }


def connect(descriptor: int) -> Connection:
    """Return the side's end of the pipe; processes that the side starts do not get it."""
    os.set_inheritable(descriptor, False)
    return Connection(descriptor)
