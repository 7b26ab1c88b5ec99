"""Connections of clients that mean no good: ambiguous requests, and ones that never end."""

import contextlib
import json
import re
import resource
import socket
import time
from urllib.parse import urlsplit

import pytest

from impl.serving.client import Connection
from impl.serving.http import connections, server

from .conftest import npy, pictures

BODY = npy(pictures())
GOOD = f"Content-Type: application/x-npy\r\nContent-Length: {len(BODY)}\r\n"


@pytest.fixture
def app(build):
    return build()


@pytest.fixture
def connect(app, listen):
    """Open sockets to the server."""
    parts = urlsplit(listen(app))
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(socket.create_connection((parts.hostname, parts.port), 30))


def everything(connection):
    """Return the answers until the server closes the connection: (status, body)."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            found += part
    answers = []
    while found:
        head, _, rest = found.partition(b"\r\n\r\n")
        length = int(re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)[1])
        answers.append((int(head.split()[1]), json.loads(rest[:length])))
        found = rest[length:]
    return answers


SMUGGLED = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "body", "reason"),
    [
        (
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            b"0\r\n\r\n",
            "both content-length and transfer-",
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            b"0\r\n\r\n",
            "both content-length and transfer-",
        ),
        ("Content-Length: 4\r\nContent-Length: 4\r\n", b"abcd", "is given more than once"),
        ("Content-Length: 4\r\nContent-Length: 5\r\n", b"abcd", "is given more than once"),
        ("Content-Length: 4, 4\r\n", b"abcd", "Content-Length is invalid"),
        ("Content-Length: +4\r\n", b"abcd", "Content-Length is invalid"),
        ("Content-Length: -1\r\n", b"", "Content-Length is invalid"),
        ("Content-Length: 0x4\r\n", b"abcd", "Content-Length is invalid"),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            b"0\r\n\r\n",
            "is given more than once",
        ),
        ("Content-Length : 4\r\n", b"abcd", "Invalid header"),
        ("X-A: b\r\n c: d\r\nContent-Length: 0\r\n", b"", "a header goes on in a second line"),
        ("X-A: b\r\n\tc\r\nContent-Length: 0\r\n", b"", "a header goes on in a second line"),
        ("X A: b\r\n", b"", "Invalid header"),
        ("X-A\r\n", b"", "Invalid header"),
        ("X-A: b\x00c\r\n", b"", "Invalid header"),
        ("X-A: b\rc: d\r\n", b"", "Bare CR or LF"),
        ("X-A: b\nContent-Length: 4\r\n", b"abcd", "Bare CR or LF"),
        ("Expect: the-unexpected\r\nContent-Length: 0\r\n", b"", "only 100-continue can be expected"),
        ("Host: b\r\nContent-Length: 0\r\n", b"", "host is given more than once"),
        ("Transfer-Encoding: chunked\r\n", b"4;a=\r\nabcd\r\nzz\r\n", ""),
        ("Transfer-Encoding: chunked\r\n", b"-1\r\n", ""),
        ("Transfer-Encoding: chunked\r\n", b"ffffffffffffffffffff\r\n", ""),
        ("Transfer-Encoding: chunked\r\n", b"4\r\nabcdef\r\n0\r\n\r\n", ""),
    ],
)
def test_an_ambiguous_request_is_refused_and_nothing_is_read_behind_it(head, body, reason, connect):
    connection = connect()
    connection.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\n" + head.encode("latin-1") + b"\r\n" + body + SMUGGLED)
    ((status, answer),) = everything(connection)
    assert 400 <= status < 500, answer
    assert reason in answer["error"]


ENCODINGS = {
    "gzip": 501,
    "chunked, gzip": 501,
    "gzip, chunked": 501,
    "identity": 501,
    "xchunked": 501,
    "\x0bchunked": 400,
}


@pytest.mark.parametrize(("transfer", "expected"), ENCODINGS.items())
def test_unknown_transfer_encodings(transfer, expected, connect):
    connection = connect()
    head = f"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {transfer}\r\n\r\n"
    connection.sendall(head.encode("latin-1") + b"0\r\n\r\n" + SMUGGLED)
    ((status, _),) = everything(connection)
    assert status == expected


@pytest.mark.parametrize(
    "line",
    [
        "POST /predict HTTP/2.0",
        "POST /predict HTTP/0.9",
        "POST /predict HTTP/1.10",
        "POST /predict HTTP/1.1 more",
        "POST  /predict  HTTP/1.1",
        "POST /predict",
        "/predict",
        "\x00",
    ],
)
def test_odd_request_lines(line, connect):
    connection = connect()
    connection.sendall(line.encode("latin-1") + b"\r\nHost: a\r\n" + GOOD.encode() + b"\r\n" + BODY)
    ((status, answer),) = everything(connection)
    assert status == 400, answer


def test_http_1_0_has_no_chunks(connect):
    connection = connect()
    connection.sendall(b"POST /predict HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED)
    ((status, answer),) = everything(connection)
    assert (status, answer["error"]) == (400, "Bad Request: HTTP/1.0 has no transfer-encoding")


@pytest.mark.parametrize(("size", "expected"), [(100_000, 404), (300_000, 431)])
def test_a_long_request_line_or_header(size, expected, connect):
    for head in (f"GET /{'a' * size} HTTP/1.1\r\nX-A: b", f"GET /nowhere HTTP/1.1\r\nX-A: {'a' * size}"):
        connection = connect()
        with contextlib.suppress(ConnectionError):
            connection.sendall(head.encode() + b"\r\nConnection: close\r\n\r\n")
        ((status, answer),) = everything(connection)
        assert status == expected
        assert len(json.dumps(answer)) < 1000


def test_what_is_plain_is_answered_and_pipelines_keep_their_order(connect):
    connection = connect()
    request = b"POST /predict HTTP/1.1\r\nHost: a\r\n" + GOOD.encode() + b"\r\n" + BODY
    chunked = b"POST /predict HTTP/1.1\r\nContent-Type: application/x-npy\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked += f"{len(BODY):x};ignored=1\r\n".encode() + BODY + b"\r\n0\r\n\r\n"
    connection.sendall(request + b"GET /health HTTP/1.1\r\n\r\n" + chunked)
    connection.sendall(b"GET /nowhere HTTP/1.1\r\nConnection: close\r\n\r\n")
    answers = everything(connection)
    assert [status for status, _ in answers] == [200, 200, 200, 404]
    assert answers[1][1] == {"alive": True}
    assert answers[0][1]["predictions"] == answers[2][1]["predictions"]


def test_a_half_closed_connection_counts_as_closed(app, connect):
    """waitress takes the end of what a client sends for the end of the client, whose work is dropped."""
    connection, other = connect(), connect()
    connection.sendall(b"POST /predict HTTP/1.1\r\n" + GOOD.encode() + b"\r\n" + BODY[:-1])
    connection.shutdown(socket.SHUT_WR)
    assert everything(connection) == []
    other.sendall(b"POST /predict HTTP/1.1\r\nConnection: close\r\n" + GOOD.encode() + b"\r\n" + BODY)
    assert [status for status, _ in everything(other)] == [200]


def test_what_waitress_refuses_is_counted(app, connect):
    connection = connect()
    connection.sendall(b"nonsense\r\n\r\n")
    assert [status for status, _ in everything(connection)] == [400]
    assert 'serving_requests_total{outcome="400"} 1.0' in app.test_client().get("/metrics").text


def closed(connection, seconds=20):
    """Return whether the server closes a connection within some seconds."""
    connection.settimeout(seconds)
    try:
        return not connection.recv(1)
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def test_a_request_that_never_arrives_is_given_up(monkeypatch, connect):
    """A byte now and then does not keep a connection open; an idle one stays."""
    monkeypatch.setattr(connections, "RECEIVING", 1.0)
    slow, body, idle = connect(), connect(), connect()
    idle.sendall(b"GET /health HTTP/1.1\r\n\r\n")
    body.sendall(b"POST /predict HTTP/1.1\r\nContent-Length: 1000\r\n\r\nabc")
    begun = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < begun + 20:
            slow.sendall(b"G")
            time.sleep(0.1)
    assert time.monotonic() - begun < 15
    assert closed(body)
    assert idle.recv(65536).startswith(b"HTTP/1.1 200")
    assert not closed(idle, 2)


def test_slow_connections_make_room_for_others(app, monkeypatch, listen):
    """Three times as many as may be open: those that wait longest are closed, and a good request is answered."""
    monkeypatch.setattr(connections, "CONNECTIONS", 40)
    monkeypatch.setattr(server, "ROOM", 10)
    url = listen(app)
    parts = urlsplit(url)
    with contextlib.ExitStack() as stack:
        slow = []
        for _ in range(120):
            slow.append(stack.enter_context(socket.create_connection((parts.hostname, parts.port), 30)))
            slow[-1].sendall(b"GET /health HTTP/1.1\r\nX-A:")
        begun = time.monotonic()
        for _ in range(3):
            with contextlib.closing(Connection(url, 30)) as good:
                assert good.post(BODY, "application/x-npy").status == 200
        assert time.monotonic() - begun < 20
        assert closed(slow[0])
        assert sum(closed(each, 0.01) for each in slow) >= 60


@pytest.mark.parametrize(
    ("soft", "hard", "most"), [(1024, 4096, 3496), (1024, 100_000, 4000), (100, 100, 50), (-1, -1, 4000)]
)
def test_as_many_connections_as_there_are_files(soft, hard, most, monkeypatch):
    raised = []
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _kind, limits: raised.append(limits))
    assert connections.most_connections() == most
    assert all(limit <= hard for limit, _ in raised)
