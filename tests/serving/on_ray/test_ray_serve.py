"""What Ray does for the server: batches, a full queue, deadlines, a replica that is lost, the end."""

import contextlib
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psutil
import pytest
import torch

from impl.serving import ServingConfig
from impl.serving.client import Connection, as_npy
from impl.serving.http.inputs import Decoder
from impl.serving.model.pictures import draw_pictures
from impl.serving.model.precision import prepare
from impl.serving.ray_serve import main
from impl.serving.runtime.batching import Job
from impl.serving.runtime.refusals import DeadlinePassedError, DrainingError, ModelFailedError, QueueFullError
from impl.serving.runtime.remote import RemoteQueue
from impl.serving.runtime.replica import Model, Request
from tests.serving.conftest import kinds_of
from tests.serving.on_ray.conftest import MARKS
from tests.serving.tiny import TINY
from tests.waiting import wait_until

# Ray Serve's settings use what pydantic wants to remove.
pytestmark = [
    *MARKS,
    pytest.mark.filterwarnings("ignore:Using extra keyword arguments on .Field.:DeprecationWarning"),
]

CONFIG = ServingConfig(model=TINY, precision="float32", max_batch=8, max_wait_ms=50)


def expected_of(images):
    prepared = prepare(CONFIG)
    decoded = Decoder(prepared.side, 1000, 10**6).array(images, "all")
    with torch.inference_mode():
        return decoded, torch.cat([prepared.run(image[None]) for image in decoded])


def test_a_batch_of_both_kinds_and_of_late_requests():
    """Bytes and floats are run one after the other; a request whose deadline has passed is not run."""
    decoded, expected = expected_of(draw_pictures(6, 3)[0])
    model = Model(CONFIG, 1)
    run, sizes = model._prepared.run, []
    model._prepared = replace(model._prepared, run=lambda images: (sizes.append(len(images)), run(images))[1])
    as_floats = decoded[2:3].float()
    later = time.monotonic() + 60
    answers = model.run(
        [
            Request(decoded[:2].numpy(), later),
            Request(as_floats.numpy(), later),
            Request(decoded[3:4].numpy(), 0.0),
            Request(decoded[4:].numpy(), later),
        ]
    )
    assert sizes == [4, 1]
    assert answers[2] is None
    for logits, right in zip(answers[:2] + answers[3:], (expected[:2], run(as_floats), expected[4:]), strict=True):
        assert torch.allclose(torch.from_numpy(logits), right, atol=1e-5)
    assert model.run([Request(decoded[:1].numpy(), 0.0)]) == [None]


class Handle:
    """Of a deployment, whose answer to each request is the same: a value, or an exception."""

    def __init__(self, answer):
        self.answer, self.cancelled, self.logits = answer, 0, self

    def remote(self, _images, seconds):
        assert seconds <= 60
        return self

    def result(self, timeout_s):
        assert 0 <= timeout_s <= 60
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def cancel(self):
        self.cancelled += 1


def test_what_ray_says_becomes_a_refusal():
    ray_exceptions, serve_exceptions = (
        pytest.importorskip("ray.exceptions"),
        pytest.importorskip("ray.serve.exceptions"),
    )
    full = serve_exceptions.BackPressureError(num_queued_requests=5, max_queued_requests=5)
    for answer, refusal, reason in (
        (full, QueueFullError, "5 requests are waiting"),
        (TimeoutError(), DeadlinePassedError, "before the model was done"),
        (None, DeadlinePassedError, "before the images had their turn"),
        (ray_exceptions.RayActorError(), ModelFailedError, "the model failed"),
    ):
        handle = Handle(answer)
        queue = RemoteQueue(handle)
        job = queue.submit(Job(torch.zeros(3, 3, 8, 8), time.monotonic() + 60))
        assert (queue.waiting, queue.idle) == (3, False)
        with pytest.raises(refusal, match=reason):
            job.wait()
        assert (queue.waiting, queue.idle) == (0, True)
        assert handle.cancelled == isinstance(answer, TimeoutError)
    queue.close()
    with pytest.raises(DrainingError):
        queue.submit(Job(torch.zeros(1, 3, 8, 8), time.monotonic() + 60))


def post_many(url, clients, requests, path="/predict", pictures=1):
    """Return the status and the Retry-After of each request, of so many pictures."""
    images, _ = draw_pictures(clients * pictures, 5)
    _, expected = expected_of(images)

    def client(number):
        answers = []
        with contextlib.closing(Connection(url, 60)) as connection:
            for _ in range(requests):
                own = slice(number * pictures, (number + 1) * pictures)
                answer = connection.post(*as_npy(images[own]), path)
                if answer.status == 200:
                    assert kinds_of(answer.body) == expected[own].argmax(dim=1).tolist()
                answers.append((answer.status, answer.headers.get("Retry-After")))
        return answers

    with ThreadPoolExecutor(clients) as pool:
        return [answer for answers in pool.map(client, range(clients)) for answer in answers]


def test_requests_that_wait_together_run_together(server):
    """32 clients, each with a picture of its own; all answers are right."""
    url, sizes = server
    before = sizes()
    answers = post_many(url, 32, 5)
    assert {status for status, _ in answers} == {200}
    batches = sizes()[len(before) :]
    assert sum(batches) == 160
    assert max(batches) > 1


@pytest.fixture(scope="module")
def slow(recorded):
    """A server that takes 0.3 s for at most two images at a time, and two requests wait."""
    options = ["--max-batch", "2", "--max-queue", "2"]
    with recorded(*options, seconds=0.3) as (url, process, sizes):
        yield url, process, sizes


def test_a_full_queue_is_429(slow):
    """Of two images each, one request runs, three wait in the replica, and two for that."""
    url, _, sizes = slow
    before = len(sizes())
    answers = post_many(url, 24, 1, pictures=2)
    statuses = [status for status, _ in answers]
    assert set(statuses) == {200, 429}
    assert 4 <= statuses.count(200) <= 12
    assert all(int(seconds) >= 1 for status, seconds in answers if status == 429)
    assert sizes()[before:] == [2] * statuses.count(200), "a batch is limited in images"


def test_a_deadline_is_504_and_costs_no_forward_pass(slow):
    url, _, sizes = slow
    before = len(sizes())
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(post_many, url, 1, 1)
        wait_until(lambda: len(sizes()) == before + 1)
        assert post_many(url, 1, 1, "/predict?timeout_ms=50")[0][0] == 504
        assert [status for status, _ in running.result()] == [200]
    assert post_many(url, 1, 1)[0][0] == 200
    assert len(sizes()) == before + 2


def test_a_replica_that_is_killed_is_replaced(slow):
    url, process, _ = slow

    def replicas():
        found = []
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # a zombie, too
                found += [child] if "ServeReplica:serving:Model" in " ".join(child.cmdline()) else []
        return found

    (replica,) = replicas()
    replica.kill()
    wait_until(lambda: replicas() and replicas() != [replica], 60)
    statuses = []

    def all_right():
        statuses.extend(status for status, _ in post_many(url, 2, 3))
        return set(statuses[-6:]) == {200}

    wait_until(all_right, 60)
    assert set(statuses) <= {200, 429, 500}


def test_it_ends_at_sigterm(slow):
    url, process, _ = slow
    process.send_signal(signal.SIGTERM)
    process.stdout.read()
    assert process.wait(60) == 0
    with pytest.raises(OSError, match="refused"):
        post_many(url, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--replicas", "0"], "--replicas must be at least 1"),
        (["--replicas", "5000"], "the usable cores, not 5000"),
        (["--port", "0"], "--port must be at least 1"),
        (["--max-batch", "0"], "--max-batch must be at least 1"),
        (["--model", "no-such"], "--model must be a name in torchvision"),
        (["--port", "70000"], "--port must be at least 0"),
    ],
)
def test_wrong_options_are_one_line(arguments, words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_an_unknown_model_ends_the_start_at_once():
    start = time.monotonic()
    with pytest.raises(SystemExit, match="cannot start: torchvision has no classifier 'nosuch'"):
        main(["--model", "nosuch"])
    assert time.monotonic() - start < 10


def test_an_address_in_use_ends_the_start_at_once():
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(SystemExit, match=r"cannot start: .*Address already in use"),
    ):
        main(["--port", str(other.getsockname()[1])])


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray.serve", None)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit, match=r"Ray Serve is needed.*ml-performance-suite\[ray\]"):
        main([])
    assert signal.getsignal(signal.SIGTERM) is before
