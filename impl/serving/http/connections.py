"""Connections as waitress handles them, stricter: one way to frame a request, errors in JSON, and room for others."""

import json
import logging
import re
import sys
import time
from collections.abc import Iterable
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import ErrorTask
from waitress.utilities import RequestEntityTooLarge

from .logs import log_request

__all__ = ["RECEIVING", "JsonChannel", "StrictParser", "close_slow", "most_connections"]

CONNECTIONS = 4000  # at once; waitress looks at each of them in every turn of its loop
OTHER_FILES = 600  # descriptors for everything else: large bodies, for one thing, are files
RECEIVING = 60.0  # seconds in which a request must arrive, once its first byte has
ONLY_ONCE = (b"content-length", b"transfer-encoding", b"host")

log = logging.getLogger(__name__)


class StrictParser(HTTPRequestParser):
    """Reads a request, and refuses what another server in front of this one could read as two.

    A body has one length, and no header continues on a second line (RFC 9112, sections 5.2, 6.1 and 6.3).
    """

    def __init__(self, adj: Any) -> None:
        """Begin a request."""
        super().__init__(adj)
        self.begun = time.monotonic()

    def received(self, data: bytes) -> int:
        """Take bytes of the request; return how many belong to it. A chunk that will be too long is refused at once."""
        consumed = super().received(data)
        request: Any = self  # waitress's stubs lack some of its attributes; so again below
        most = request.adj.max_request_body_size
        if not request.completed and getattr(request.body_rcv, "chunk_remainder", 0) > most:
            request.error = RequestEntityTooLarge(f"exceeds max_body of {most}")
            request.completed = True
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        """Read the header.

        Raises:
            ParsingError: It is malformed or ambiguous.
        """
        _first, *lines = header_plus.split(b"\r\n")
        if any(line[:1] in (b" ", b"\t") for line in lines):
            raise ParsingError("a header goes on in a second line")
        names = [line.partition(b":")[0].lower() for line in lines]
        for name in ONLY_ONCE:
            if names.count(name) > 1:
                raise ParsingError(f"{name.decode()} is given more than once")
        if b"content-length" in names and b"transfer-encoding" in names:
            raise ParsingError("there are both content-length and transfer-encoding")
        super().parse_header(header_plus)
        request: Any = self
        if request.version not in ("1.0", "1.1"):
            raise ParsingError("the version is neither HTTP/1.0 nor HTTP/1.1")
        if request.version == "1.0" and b"transfer-encoding" in names:
            raise ParsingError("HTTP/1.0 has no transfer-encoding")
        if not re.fullmatch("|100-continue", request.headers.get("EXPECT", ""), re.IGNORECASE):
            raise ParsingError("only 100-continue can be expected")


class JsonErrorTask(ErrorTask):
    """The answer to what waitress itself refuses: a body that is too long, a malformed header."""

    def execute(self) -> None:
        """Answer."""
        request: Any = self.request
        error = request.error
        body = json.dumps({"success": False, "error": f"{error.reason}: {error.body}"}).encode()
        self.status = f"{error.code} {error.reason}"
        headers: Any = self.response_headers
        headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)
        channel: Any = self.channel
        # A request that is malformed may have neither of them.
        method, path = getattr(request, "command", ""), getattr(request, "path", "")
        log_request(method, path, error.code, None, channel.addr[0])
        channel.server.count_refused(str(error.code))


class JsonChannel(HTTPChannel):
    """A connection whose errors are JSON."""

    error_task_class = JsonErrorTask
    parser_class = StrictParser

    @property
    def waiting_since(self) -> float | None:
        """When the client began what it has not finished, on the clock of time.monotonic; None if it has."""
        channel: Any = self
        if channel.requests or channel.total_outbufs_len:
            return None
        if channel.request is not None:
            return float(channel.request.begun)
        return float(time.monotonic() - (time.time() - channel.last_activity))


def most_connections() -> int:
    """Return how many connections may be open at once; the limit of this process's files is raised for them."""
    if sys.platform == "win32":
        return CONNECTIONS
    import resource  # noqa: PLC0415 - Windows has no limit of this kind

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return CONNECTIONS if soft == resource.RLIM_INFINITY else min(CONNECTIONS, max(soft - OTHER_FILES, soft // 2))


def close_slow(channels: Iterable[JsonChannel], most: int) -> None:
    """Close connections whose request takes too long to arrive, and the longest waiting ones of more than `most`.

    Idle connections count as waiting, too: beyond `most` they make room for others.
    """
    every = list(channels)
    waiting = [(since, channel) for channel in every if (since := channel.waiting_since) is not None]
    waiting.sort(key=lambda each: each[0])
    surplus = max(0, len(every) - most)
    if surplus:
        log.warning("%d connections are open: the %d that wait longest are closed", len(every), surplus)
    latest = time.monotonic() - RECEIVING
    for place, (since, channel) in enumerate(waiting):
        late = since < latest and getattr(channel, "request", None) is not None
        if place < surplus or late:
            channel.handle_close()
