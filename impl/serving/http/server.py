"""waitress in front of an application: errors in JSON, and a shutdown that answers every accepted request.

Why waitress: it reads a whole request before a thread handles it, so that a client that sends one byte per second
occupies a socket and no thread; and it detects clients that have disconnected.
"""

import contextlib
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from flask import Flask
from waitress.server import create_server
from waitress.task import ThreadedTaskDispatcher

from ..model.cores import use_cores
from .connections import JsonChannel, close_slow, most_connections

__all__ = ["Server", "until_stopped"]

ROOM = 100  # connections more than that are accepted before the longest waiting ones are closed
SWEEPING = 0.5  # seconds between two looks for them
SIGNALS = (signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGHUP", None))  # the last is not Windows'
FLUSHING = 10.0  # seconds in which clients must read their answers at shutdown
ENDING = 1.0  # seconds in which the model's thread must end, once no request waits


class Dispatcher(ThreadedTaskDispatcher):
    """Request threads in which torch uses one core: the others belong to the inference thread."""

    def handler_thread(self, thread_no: int) -> None:
        """Run a thread."""
        use_cores(1)
        super().handler_thread(thread_no)


class Server:
    """An application on an address.

    Attributes:
        port: The port it listens on; chosen by the operating system if 0 was given.
    """

    def __init__(self, app: Flask, host: str, port: int, max_body: int = 2**30) -> None:
        """Bind and listen; `run` answers.

        Raises:
            OSError: The address is in use, or not one of this machine.
        """
        self._service: Any = app.extensions.get("serving")
        self._most = most_connections()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=1024)
        threads = (
            2  # for the originals, which share the cores; each of the baseline's keeps 2 GiB of models that it built
        )
        if self._service:  # some more, which refuse the rest at once and say how the server is
            threads = self._service.most_requests + 8
        dispatcher = Dispatcher() if self._service else ThreadedTaskDispatcher()
        dispatcher.set_thread_count(threads)
        server: Any = create_server(
            app,
            sockets=[listening],
            _dispatcher=dispatcher,
            threads=threads,
            connection_limit=self._most + ROOM,
            asyncore_use_poll=hasattr(select, "poll"),
            channel_request_lookahead=1,  # needed for client_disconnected
            max_request_body_size=max_body,
            ident=None,
        )
        self._server = server
        self._server.channel_class = JsonChannel
        self._server.count_refused = self._service.metrics.refused if self._service else lambda _status: None
        self._stopping = threading.Event()
        self._swept = time.monotonic()
        self.port: int = listening.getsockname()[1]

    def stop(self) -> None:
        """Make `run` drain and return. Callable from any thread and from a signal handler."""
        self._stopping.set()
        with contextlib.suppress(OSError):  # it has stopped already
            self._server.pull_trigger()

    def run(self) -> None:
        """Answer until `stop`; then answer every accepted request, and close."""
        self._loop(self._stopping.is_set)
        if self._service:  # what was accepted has a deadline
            grace = time.monotonic() + self._service.config.timeout_ms / 1e3
            self._service.drain()
            self._loop(lambda: self._service.idle or time.monotonic() > grace)
            self._service.close(ENDING)
        self._server.accepting = False
        self._server.del_channel()
        self._server.socket.close()
        until = time.monotonic() + FLUSHING
        self._loop(lambda: time.monotonic() > until or not self._busy())
        self._server.task_dispatcher.shutdown(timeout=1)
        for channel in list(self._server.active_channels.values()):
            channel.handle_close()
        self._server.trigger.close()

    def _busy(self) -> bool:
        channels = list(self._server.active_channels.values())
        return any(channel.requests or channel.total_outbufs_len for channel in channels)

    def _loop(self, ended: Callable[[], bool]) -> None:
        while not ended():
            if time.monotonic() > self._swept + SWEEPING:
                close_slow(self._server.active_channels.values(), self._most)
                self._swept = time.monotonic()
            self._server.asyncore.loop(
                timeout=0.05 if self._stopping.is_set() else 1.0,
                map=self._server._map,  # noqa: SLF001 - as waitress's own loop does
                use_poll=self._server.adj.asyncore_use_poll,
                count=1,
            )


def until_stopped(server: Server) -> None:
    """Run a server in the main thread until SIGTERM, SIGINT or SIGHUP."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.stop()

    before: list[Any] = [(number, signal.signal(number, stop)) for number in SIGNALS if number]
    try:
        server.run()
    finally:
        for number, handler in before:
            signal.signal(number, handler)
