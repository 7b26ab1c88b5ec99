"""Servers as child processes: started, stopped, and suspended while another one is measured."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psutil

__all__ = ["ServerPool", "SuspendedServers", "running"]

START_TIMEOUT = 300.0  # seconds
STOP_TIMEOUT = 60.0  # seconds

Started = tuple[str, psutil.Process]


@contextmanager
def running(
    *command: str, timeout: float = START_TIMEOUT, prefix: tuple[str, ...] = (), **options: Any
) -> Iterator[Started]:
    """Start `PREFIX python COMMAND`, a server that prints its address when it is ready; stop it at the end.

    `options` are Popen's.

    Yields:
        Its address, http://HOST:PORT, and its process.

    Raises:
        RuntimeError: It printed no address within `timeout` seconds.
    """
    process = subprocess.Popen([*prefix, sys.executable, *command], stdout=subprocess.PIPE, text=True, **options)  # noqa: S603 - our own
    timer = threading.Timer(timeout, _kill_all, (process,))
    timer.start()
    try:
        line = process.stdout.readline() if process.stdout else ""
        timer.cancel()
        address = re.search(r"http://[\d.]+:\d+", line)
        if not address:
            raise RuntimeError(f"{' '.join(command)} printed no address, but {line!r}")
        yield address[0], psutil.Process(process.pid)
    finally:
        timer.cancel()
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _, alive = psutil.wait_procs(children, 5)  # LitServe leaves its workers behind
        for child in alive:
            child.kill()
        if process.stdout:
            process.stdout.close()


def _kill_all(process: subprocess.Popen[str]) -> None:
    """Kill a process and its children, which would keep its output open."""
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
    process.kill()


class ServerPool:
    """Starts servers on demand and keeps the last ones running.

    All variants at once take 22 GiB, most of it models that the baseline's threads have built.
    """

    def __init__(self, size: int = 2) -> None:
        """Keep at most `size` servers running, except for those that are needed at the same time."""
        self._size = size
        self._servers: dict[tuple[str, ...], tuple[ExitStack, Started]] = {}

    def start(self, *command: str) -> Started:
        """Return the address and process of a server, started or still running; the least recently used one stops."""
        kept = [other for other in self._servers if other != command][1 - self._size :]
        return self.start_all(*kept, command)[-1]

    def start_all(self, *commands: tuple[str, ...]) -> list[Started]:
        """Return the addresses and processes of servers that run at the same time; all others stop."""
        for command in [other for other in self._servers if other not in commands]:
            self._servers.pop(command)[0].close()
        with ThreadPoolExecutor() as starts:
            list(starts.map(self._start, [command for command in commands if command not in self._servers]))
        for command in commands:  # the last one is the most recently used
            self._servers[command] = self._servers.pop(command)
        return [self._servers[command][1] for command in commands]

    def _start(self, command: tuple[str, ...]) -> None:
        stack = ExitStack()
        self._servers[command] = stack, stack.enter_context(running(*command))

    def close(self) -> None:
        """Stop all of them."""
        for stack, _ in self._servers.values():
            stack.close()
        self._servers.clear()


class SuspendedServers:
    """Servers that are suspended except during their own turn, because an idle server can take CPU time from another.

    LitServe's idle processes take 10 to 12 % of a core (2.6, 2026-11-23).
    """

    def __init__(self, *servers: psutil.Process) -> None:
        """Suspend them, with their child processes."""
        self._families = {server: [server, *server.children(recursive=True)] for server in servers}
        for server in servers:
            self._suspend(server)

    @contextmanager
    def turn_of(self, server: psutil.Process) -> Iterator[None]:
        """Let one of them run."""
        self._resume(server)
        try:
            yield
        finally:
            self._suspend(server)

    def close(self) -> None:
        """Let all of them run."""
        for server in self._families:
            self._resume(server)

    def _suspend(self, server: psutil.Process) -> None:
        for process in self._families[server]:
            process.suspend()

    def _resume(self, server: psutil.Process) -> None:
        for process in self._families[server]:
            process.resume()
