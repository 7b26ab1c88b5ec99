"""What becomes of requests while bodies take long to decode, and after the model's thread has ended."""

import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import pytest

from impl.serving.client import Connection
from impl.serving.http.inputs import Decoder
from impl.serving.runtime import batching

from .conftest import npy, pictures

KIND = "application/x-npy"


@pytest.fixture
def stuck(monkeypatch):
    """Let bodies take until `release` to be decoded; `entered` counts them."""
    release, entered, images = threading.Event(), threading.Semaphore(0), Decoder.images

    def blocked(decoder, request):
        entered.release()
        assert release.wait(60)
        return images(decoder, request)

    monkeypatch.setattr(Decoder, "images", blocked)
    yield release, entered
    release.set()


def post(url, path="/predict"):
    connection = Connection(url)
    try:
        return connection.post(npy(pictures()), KIND, path)
    finally:
        connection.close()


def test_the_deadline_covers_decoding(build, listen, stuck):
    url, (release, _) = listen(build()), stuck
    start = time.monotonic()
    answer = post(url, "/predict?timeout_ms=200")
    assert (answer.status, answer.body["error"]) == (504, "the deadline passed before the body was decoded")
    assert 0.2 <= time.monotonic() - start < 10
    release.set()
    assert post(url).status == 200


def test_the_deadline_covers_the_wait_for_a_decoding_thread(build, listen, stuck):
    """Two bodies keep both threads; the third is dropped before it is decoded."""
    url, (release, entered) = listen(build()), stuck
    with ThreadPoolExecutor(2) as pool:
        busy = [pool.submit(post, url) for _ in range(2)]
        assert entered.acquire(timeout=30)
        assert entered.acquire(timeout=30)
        assert post(url, "/predict?timeout_ms=100").status == 504
        release.set()
        assert [answer.result().status for answer in busy] == [200, 200]
    assert not entered.acquire(blocking=False)


def test_bodies_beyond_the_queue_are_refused_and_health_does_not_wait(build, listen, stuck):
    url, (release, _) = listen(build(max_queue=3, max_batch=1)), stuck
    health = Connection(url)
    with ThreadPoolExecutor(4) as pool:
        posted = [pool.submit(post, url) for _ in range(4)]
        done, waiting = wait(posted, 30, FIRST_COMPLETED)
        (refused,) = (answer.result() for answer in done)
        assert (refused.status, refused.body["error"]) == (429, "3 bodies are waiting, which is the limit")
        assert int(refused.headers["Retry-After"]) >= 1
        for path in ("/health", "/ready", "/metrics", "/v2/health/ready"):
            start = time.monotonic()
            assert health.get(path).status == 200
            assert time.monotonic() - start < 5
        release.set()
        assert [answer.result().status for answer in waiting] == [200] * 3
    health.close()


def test_the_end_of_the_models_thread_is_said(build, monkeypatch, caplog):
    """Its request is answered, later ones are refused, and /health says that the server has to be started again."""
    client = build().test_client()
    assert client.get("/ready").status_code == 200

    def fail(_job):
        raise MemoryError("none left")

    monkeypatch.setattr(batching, "dropped", fail)
    assert client.post("/predict", data=npy(pictures())).status_code == 500
    monkeypatch.undo()
    assert "the model's thread has ended: start the server again" in caplog.text
    assert "none left" in caplog.text
    answer = client.post("/predict", data=npy(pictures()))
    assert (answer.status_code, answer.json["error"]) == (
        503,
        "the model's thread has ended: the server has to be started again",
    )
    for path, status in (("/health", 500), ("/v2/health/live", 500), ("/ready", 503), ("/v2/health/ready", 503)):
        assert client.get(path).status_code == status
