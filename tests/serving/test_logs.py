"""The log: an id for each request, which its client gets too, and lines of JSON."""

import io
import json
import logging
import socket
from datetime import datetime
from urllib.parse import urlsplit

import pytest

from impl.serving.http import logs
from impl.serving.http.logs import REQUEST_ID, JsonLines
from tests.waiting import wait_until

from .conftest import npy, pictures


@pytest.fixture
def lines(monkeypatch):
    """Log as --log-json does; return a function that returns the lines so far."""
    stream, root = io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    root.addHandler(handler)
    monkeypatch.setattr(root, "level", logging.INFO)
    before = logs.log.level
    logs.log.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logs.log.setLevel(before)
    root.removeHandler(handler)


def test_each_request_is_a_line_with_the_id_that_its_client_got(build, lines):
    client = build().test_client()
    answers = [
        client.post("/predict?top=2", data=npy(pictures())),
        client.post("/predict", data=b"nonsense"),
        client.get("/" + "a" * 1000),
    ]
    found = [line for line in lines() if line["message"] == "request"]
    assert [line["request_id"] for line in found] == [answer.headers[REQUEST_ID] for answer in answers]
    assert len({line["request_id"] for line in found}) == 3
    assert [(line["method"], line["status"]) for line in found] == [("POST", 200), ("POST", 415), ("GET", 404)]
    assert [line["path"] for line in found[:2]] == ["/predict", "/predict"]
    assert len(found[2]["path"]) == 200
    assert all(0 < line["seconds"] < 60 and line["client"] == "127.0.0.1" for line in found)
    assert all(datetime.fromisoformat(line["time"]).utcoffset().total_seconds() == 0 for line in found)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("mine-1.2_3:4", True),
        ("a" * 100, True),
        ("a" * 101, False),
        ("", False),
        ("a b", False),
        ("ä", False),
        ('"', False),
    ],
)
def test_a_client_may_choose_a_plain_id(given, kept, build):
    answer = build().test_client().get("/health", headers={REQUEST_ID: given})
    assert (answer.headers[REQUEST_ID] == given) is kept
    assert answer.headers[REQUEST_ID]


def test_what_fails_is_logged_with_its_request(build, lines):
    app = build()

    def fail():
        raise RuntimeError("made to fail\nin two lines")

    app.view_functions["ready"] = fail
    answer = app.test_client().get("/ready")
    assert answer.status_code == 500
    (line,) = (line for line in lines() if "exception" in line)
    assert line["request_id"] == answer.headers[REQUEST_ID]
    assert line["level"] == "ERROR"
    assert line["request_id"] in line["message"]
    assert "RuntimeError: made to fail\nin two lines" in line["exception"]


def test_what_waitress_refuses_is_logged(build, listen, lines):
    parts = urlsplit(listen(build()))
    with socket.create_connection((parts.hostname, parts.port), 30) as connection:
        connection.sendall(b"GET /x HTTP/1.1\r\nContent-Length: x\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 400")
    wait_until(lambda: [line for line in lines() if line["message"] == "request"])
    (line,) = (line for line in lines() if line["message"] == "request")
    assert (line["method"], line["path"], line["status"], line["client"]) == ("GET", "/x", 400, "127.0.0.1")
    assert "seconds" not in line


@pytest.mark.parametrize("as_json", [True, False])
def test_the_log_of_a_process(as_json, monkeypatch):
    """As text it has no line for each request."""
    configured = {}
    monkeypatch.setattr(logging, "basicConfig", lambda **settings: configured.update(settings))
    before = logs.log.level
    try:
        logs.log_to_stderr(as_json=as_json)
        assert logs.log.isEnabledFor(logging.INFO) is as_json
    finally:
        logs.log.setLevel(before)
    (handler,) = configured["handlers"]
    assert configured["level"] == logging.INFO
    text = handler.format(logging.LogRecord("a.b", logging.WARNING, "", 0, "two %s", ("words",), None))
    assert text.startswith("{") is as_json
    assert "two words" in text
