"""waitress in front of an application: errors in JSON, and an end that loses nothing that was accepted.

Why waitress: it reads a request whole before a thread is given to it, so that a client that sends a byte a second holds
a socket and nothing else, and it knows when a client has gone.
"""

import contextlib
import json
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from flask import Flask
from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask, ThreadedTaskDispatcher

from ..model.cores import use_cores

__all__ = ["Server", "until_stopped"]

CONNECTIONS = 1000
FLUSHING = 10.0  # seconds that answers may take to leave, at the end


class JsonErrorTask(ErrorTask):
    """What waitress itself refuses: a body too long, a header that is none."""

    def execute(self) -> None:
        """Answer."""
        request: Any = self.request  # its published types are not those it has; so again below
        error = request.error
        body = json.dumps({"success": False, "error": f"{error.reason}: {error.body}"}).encode()
        self.status = f"{error.code} {error.reason}"
        headers: Any = self.response_headers
        headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class JsonChannel(HTTPChannel):
    """A connection whose errors are JSON."""

    error_task_class = JsonErrorTask


class Dispatcher(ThreadedTaskDispatcher):
    """Threads that keep torch's hands off the cores: these are the inference thread's."""

    def handler_thread(self, thread_no: int) -> None:
        """Run a thread."""
        use_cores(1)
        super().handler_thread(thread_no)


class Server:
    """An application on an address.

    Attributes:
        port: What it listens on; chosen by the system where 0 was asked for.
    """

    def __init__(self, app: Flask, host: str, port: int, max_body: int = 2**30) -> None:
        """Bind and listen, and answer nothing yet.

        Raises:
            OSError: The address cannot be had.
        """
        self._service: Any = app.extensions.get("serving")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=1024)
        threads = 2  # of the originals, which share the cores; each of the baseline's keeps 2 GiB of what it built
        if self._service:  # one for each image that may wait or run: whoever is turned away is told so at once
            threads = self._service.config.max_queue + self._service.config.max_batch + 8
        dispatcher = Dispatcher() if self._service else ThreadedTaskDispatcher()
        dispatcher.set_thread_count(threads)
        server: Any = create_server(
            app,
            sockets=[listening],
            _dispatcher=dispatcher,
            threads=threads,
            connection_limit=CONNECTIONS,
            asyncore_use_poll=hasattr(select, "poll"),
            channel_request_lookahead=1,  # or waitress does not notice that a client has gone
            max_request_body_size=max_body,
            ident=None,
        )
        self._server = server
        self._server.channel_class = JsonChannel
        self._stopping = threading.Event()
        self.port: int = listening.getsockname()[1]

    def stop(self) -> None:
        """Have `run` drain and return; from any thread, and from a signal's handler."""
        self._stopping.set()
        with contextlib.suppress(OSError):  # it has ended already
            self._server.pull_trigger()

    def run(self) -> None:
        """Answer until `stop`; then answer what was accepted, and close."""
        self._loop(self._stopping.is_set)
        if self._service:
            self._service.drain()
            self._loop(lambda: self._service.batcher.idle)
            self._service.close()
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
            self._server.asyncore.loop(
                timeout=0.05 if self._stopping.is_set() else 1.0,
                map=self._server._map,  # noqa: SLF001 - waitress's own loop uses it so
                use_poll=self._server.adj.asyncore_use_poll,
                count=1,
            )


def until_stopped(server: Server) -> None:
    """Run a server in the main thread until SIGTERM or SIGINT."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.stop()

    before: list[Any] = [(number, signal.signal(number, stop)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        server.run()
    finally:
        for number, handler in before:
            signal.signal(number, handler)
