"""The originals run what a pickle says, so no web page and no other machine may send them one."""

import contextlib
import io
import json
import pickle
import socket

import pytest
import torch

from impl.serving import VARIANTS, ServingConfig, __main__
from impl.serving.client import Connection, as_pickle
from impl.serving.http import server
from impl.serving.http.pickled import ANY_HOST, FIELD, PICKLE, application, unpickled
from tests.serving.conftest import TINY, pictures

READERS = [name for name, variant in VARIANTS.items() if PICKLE in variant.accepts]
FOREIGN = [
    {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": ""}, {"Origin": "http://localhost"},
    {"Origin": "http://127.0.0.1:8000", "Host": "127.0.0.1:8000"}, {"Host": "evil.example"},
    {"Host": "evil.example:8000"}, {"Host": "localhost.evil.example"}, {"Host": "127.0.0.1.evil.example"},
    {"Host": "192.168.0.1"}, {"Host": "0.0.0.0"},  # noqa: S104 - nothing is bound
    {"Host": "[::]:8000"}, {"Host": "evil@localhost"}, {"Host": "localhost, evil.example"}, {"Host": "localhost/"},
    {"Host": "128.0.0.1"}, {"Host": "x" * 3000}, {"Host": "localhost:evil"}, {"Host": ""},
]  # fmt: skip
LOCAL = ["localhost", "LocalHost:80", "127.0.0.1", "127.0.0.1:8000", "127.9.9.9:1", "[::1]", "[::1]:8000"]


class Evil:
    """Unpickling it leaves a trace."""

    ran = False

    def __reduce__(self):
        return (setattr, (Evil, "ran", True))


@pytest.fixture
def loaded():
    """Pickles that were loaded by an application without a model."""
    return []


@pytest.fixture
def client(loaded):
    def predict(body):
        loaded.append(unpickled(body))
        return torch.zeros(1, 10)

    return application(predict).test_client()


def posted(client, body=b"", headers=None, path="/predict"):
    return client.post(path, data={FIELD: (io.BytesIO(body), "a.pkl")}, headers=headers)


@pytest.mark.parametrize("headers", FOREIGN, ids=lambda headers: str(headers)[:60])
def test_a_request_of_a_web_page(headers, client, loaded):
    Evil.ran = False
    for path in ("/predict", "/nowhere", "/predict/"):
        answer = posted(client, pickle.dumps(Evil()), headers, path)
        assert answer.status_code == 403
        assert answer.json["success"] is False
        assert "reads pickles" in answer.json["error"]
        assert len(answer.json["error"]) < 400
    assert client.get("/predict", headers=headers).status_code == 403
    assert client.options("/predict", headers=headers).status_code == 403, "a browser's question before a request"
    assert not loaded
    assert not Evil.ran


@pytest.mark.parametrize("variant", READERS)
def test_every_variant_that_reads_pickles_refuses_web_pages(variant, small_cache):
    client = VARIANTS[variant](ServingConfig(model=TINY)).test_client()
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        Evil.ran = False
        assert posted(client, pickle.dumps(Evil()), headers).status_code == 403
        assert not Evil.ran


@pytest.mark.parametrize("host", LOCAL)
def test_a_request_of_this_machine(host, client, loaded):
    answer = posted(client, pickle.dumps(7), {"Host": host})
    assert (answer.status_code, answer.json) == (200, {"success": True})
    assert loaded == [7]


def test_over_a_socket(client, listen, loaded):
    """The task's own client is answered; without a Host, as in HTTP 1.0, a request is not."""
    url = listen(client.application)
    with contextlib.closing(Connection(url, 20)) as connection:
        assert connection.post(*as_pickle(pictures())).status == 200
    host, port = url.removeprefix("http://").split(":")
    for head in ("HTTP/1.0\r\n", "HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n"):
        with socket.create_connection((host, int(port)), 5) as connection:
            connection.sendall(f"POST /predict {head}Content-Length: 0\r\n\r\n".encode())
            received = b"".join(iter(lambda connection=connection: connection.recv(4096), b""))
        assert b" 403 " in received.partition(b"\r\n")[0]
        assert json.loads(received.partition(b"\r\n\r\n")[2])["success"] is False
    assert len(loaded) == 1


def test_trusted_clients_may_use_every_name(client):
    client.application.config[ANY_HOST] = True
    assert posted(client, pickle.dumps(7), {"Host": "my-machine:8000"}).status_code == 200
    assert posted(client, pickle.dumps(7), {"Origin": "https://evil.example"}).status_code == 403


@pytest.mark.parametrize("trusted", [False, True])
def test_the_option_trusts_every_name(trusted, monkeypatch, small_cache):
    apps = []

    class Listening:
        port = 1

        def __init__(self, app, *_):
            apps.append(app)

    monkeypatch.setattr(server, "Server", Listening)
    monkeypatch.setattr(server, "until_stopped", lambda _: None)
    assert __main__.main(["preloaded", "--model", TINY, *(["--i-trust-every-client"] if trusted else [])]) == 0
    status = posted(apps[0].test_client(), b"", {"Host": "my-machine"}, "/nowhere").status_code
    assert status == (404 if trusted else 403)


def test_errors_are_json(client):
    for answer, status in (
        (posted(client, path="/nowhere"), 404),
        (client.get("/predict"), 405),
        (client.post("/predict"), 400),
        (posted(client, b"no pickle"), 400),
        (posted(client, b""), 400),
    ):
        assert answer.status_code == status
        assert answer.json["success"] is False
