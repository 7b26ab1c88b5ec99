"""The server over sockets: concurrent, slow, idle and disconnecting clients, and a shutdown under load."""

import contextlib
import json
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import psutil
import pytest
import torch

from impl.serving import VARIANTS, ServingConfig
from impl.serving.__main__ import main, parse
from impl.serving.client import Connection, as_npy
from impl.serving.http import server
from impl.serving.http.errors import answer_to
from impl.serving.http.inputs import Decoder
from impl.serving.http.pickled import PICKLE
from impl.serving.model.pictures import draw_pictures
from impl.serving.runtime import refusals, service
from impl.variant import best_of
from tests.serving.conftest import TINY, kinds_of, npy, pictures
from tests.serving.test_inputs import malformed
from tests.waiting import wait_until


def address(url):
    parts = urlsplit(url)
    return parts.hostname, parts.port


def posted(url, images, path="/predict"):
    connection = Connection(url, 20)
    try:
        return connection.post(*as_npy(images), path)
    finally:
        connection.close()


def raw(body, kind="application/x-npy", length=None):
    head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {length or len(body)}\r\n\r\n"
    return head.encode("latin-1") + body


def slowed(app, seconds):
    """Make each forward pass take longer; return a list that collects the sizes of the passes."""
    batcher = app.extensions["serving"].batcher
    sizes = []
    observe = batcher._observe

    def wait(*forward_pass):
        sizes.append(forward_pass[0])
        observe(*forward_pass)
        time.sleep(seconds)

    batcher._observe = wait
    return sizes


def test_every_image_gets_its_own_answer(build, listen):
    """32 concurrent clients, one or two images per request, compared with a direct forward pass of each image."""
    app = build()
    url = listen(app)
    images, _ = draw_pictures(700, 21)
    serving = app.extensions["serving"]
    decoded = Decoder(serving.prepared.side, 1000, 10**6).array(images, "all")
    with torch.inference_mode():
        expected = torch.softmax(torch.cat([serving.prepared.run(image[None]) for image in decoded]), dim=1)
    assert len(set(expected.argmax(dim=1).tolist())) >= 8
    assert len({round(value, 5) for value in expected.amax(dim=1).tolist()}) > 600, (
        "too few distinct answers to detect a swap"
    )

    def client(number):
        with contextlib.closing(Connection(url, 20)) as connection:
            for place in range(number * 20, number * 20 + 20, 2):
                count = 1 + place % 3 // 2
                answer = connection.post(*as_npy(images[place : place + count]))
                assert answer.status == 200
                for prediction, right in zip(answer.body["predictions"], expected[place : place + count], strict=True):
                    assert prediction["index"] == int(right.argmax())
                    assert abs(prediction["probability"] - float(right.max())) < 2e-5
        return True

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(client, range(32)))
    assert "serving_images_total" in app.test_client().get("/metrics").text
    batches = app.test_client().get("/metrics").text
    assert float(re.search(r"serving_batch_images_count (\S+)", batches)[1]) < 320, "nothing was ever batched"


@pytest.mark.serial
def test_slow_clients_do_not_delay_others(build, listen):
    url = listen(build())
    body = raw(npy(pictures()))
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(address(url))) for _ in range(250)]
        for place in range(3):
            for connection in slow:
                connection.send(body[place : place + 1])
            start = time.monotonic()
            assert posted(url, pictures()).status == 200
            assert time.monotonic() - start < 1
            time.sleep(0.2)
        slow[0].sendall(body[3:])
        assert slow[0].recv(20).startswith(b"HTTP/1.1 200")


def test_two_hundred_idle_connections(build, listen):
    url = listen(build())
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(address(url)))
        assert all(posted(url, pictures()).status == 200 for _ in range(5))


@pytest.mark.serial
def test_clients_that_disconnect_cost_no_forward_pass(build, listen):
    app = build(max_batch=1)
    url = listen(app)
    sizes = slowed(app, 0.3)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(posted, url, pictures())
        wait_until(lambda: sizes)
        for _ in range(20):
            with socket.create_connection(address(url)) as connection:
                connection.sendall(raw(npy(pictures())))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                time.sleep(0.005)
        assert first.result().status == 200
    assert posted(url, pictures()).status == 200
    assert len(sizes) <= 4, f"{len(sizes)} forward passes for 2 clients that stayed"


@pytest.mark.serial
def test_full_queue_and_deadline(build, listen):
    app = build(max_batch=1, max_queue=2)
    url = listen(app)
    sizes = slowed(app, 0.5)

    def timed(path):
        start = time.monotonic()
        answer = posted(url, pictures(), path)
        return answer.status, time.monotonic() - start, answer.headers

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(timed, "/predict")
        wait_until(lambda: sizes)  # it has left the queue, whose two places are free
        answers = [*pool.map(timed, ["/predict"] * 7), first.result()]
        statuses = [status for status, _, _ in answers]
        assert statuses.count(200) >= 3
        assert statuses.count(429) >= 3
        for status, seconds, headers in answers:
            if status == 429:
                assert seconds < 0.4
                assert int(headers["Retry-After"]) >= 1
        before = len(sizes)
        last = pool.submit(timed, "/predict")
        wait_until(lambda: len(sizes) > before)
        assert timed("/predict?timeout_ms=100")[0] == 504
        assert last.result()[0] == 200


def test_not_ready_yet(build, listen, monkeypatch):
    release, prepare = threading.Event(), service.prepare
    monkeypatch.setattr(service, "prepare", lambda config: (release.wait(20), prepare(config))[1])
    app = VARIANTS[best_of(VARIANTS)](ServingConfig(model=TINY, precision="float32"))
    client = app.test_client()
    try:
        assert client.get("/health").status_code == 200
        for path in ("/ready", "/v2/health/ready"):
            assert client.get(path).status_code == 503
        answer = client.post("/predict", data=npy(pictures()))
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        release.set()
        app.extensions["serving"].loaded(30)
        ready = client.get("/ready")
        assert ready.status_code == 200
        assert ready.json["precision"] == "float32"
        app.extensions["serving"].drain()
        assert client.get("/ready").status_code == 503
        assert client.post("/predict", data=npy(pictures())).status_code == 503
    finally:
        release.set()
        app.extensions["serving"].close()


def test_waitress_errors_are_json_too(build, listen):
    app = build()
    url = listen(app, max_body=1000)
    for request, status in (
        (raw(bytes(2000)), 413),
        (raw(b"x", length="x"), 400),
        (b"nonsense\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 400),
    ):
        with socket.create_connection(address(url), 5) as connection:
            connection.sendall(request)
            received = b"".join(iter(lambda: connection.recv(4096), b""))
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(f"HTTP/1.{'0' if status == 400 and request.startswith(b'n') else '1'} {status}".encode())
        assert json.loads(body)["success"] is False


def test_three_hundred_malformed_requests_over_sockets(build, listen):
    url = listen(build(max_body_mb=1, max_pixels=10**6))
    rng = random.Random(5)
    right = kinds_of(posted(url, pictures(3)).body)
    for _ in range(300):
        body, kind = malformed(rng)
        kind = kind.replace("\0", "")
        with socket.create_connection(address(url), 5) as connection:
            wrong_length = rng.choice([None, None, None, len(body) + 9])
            connection.sendall(raw(body, kind, wrong_length))
            if wrong_length:
                continue  # the server waits for the rest, and this client disconnects
            received = connection.recv(4096)
        assert re.match(rb"HTTP/1.1 (200|400|413|415|422) ", received), received
    assert kinds_of(posted(url, pictures(3)).body) == right


@pytest.fixture
def command(small_cache):
    """Start `python -m impl.serving ...`; return the process and the first line of its output."""
    with contextlib.ExitStack() as stack:

        def start(*arguments):
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "impl.serving", *arguments, "--port", "0"],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            return process, process.stdout.readline()

        yield start


def test_sigterm_under_load_loses_no_accepted_request(command):
    process, line = command("optimised", "--model", "squeezenet1_1", "--precision", "float32")
    url = re.search(r"http://[\d.]+:\d+", line)[0]
    assert "squeezenet1_1 in float32" in line
    assert "image/jpeg" in line
    statuses, lost = [], []

    def client(_):
        connection = Connection(url, 20)
        try:
            while True:
                answer = connection.post(*as_npy(pictures()))
                statuses.append(answer.status)
                if answer.status != 200:
                    return
                assert answer.body["success"] is True
        except ConnectionRefusedError:
            return  # the server has stopped, and never accepted this request
        except OSError as error:
            lost.append(error)
        finally:
            connection.close()

    with ThreadPoolExecutor(16) as pool:
        clients = [pool.submit(client, number) for number in range(16)]
        wait_until(lambda: len(statuses) >= 100)
        process.send_signal(signal.SIGTERM)
        for running in clients:
            running.result(30)
    assert process.wait(20) == 0, process.stderr.read()
    assert set(statuses) <= {200, 503}, set(statuses)
    # A request that was still on its way when the socket closed was never accepted; each that was read is answered.
    assert len(lost) <= 16
    assert not [error for error in lost if isinstance(error, TimeoutError)]


def test_draining_answers_waiting_requests(build, listen):
    app = build(max_batch=1)
    url = listen(app)
    batcher = app.extensions["serving"].batcher
    observe, goes_on, sizes = batcher._observe, threading.Event(), []

    def held(*forward_pass):
        sizes.append(forward_pass[0])
        observe(*forward_pass)
        goes_on.wait(30)

    batcher._observe = held
    with ThreadPoolExecutor(8) as pool:
        pending = [pool.submit(posted, url, pictures()) for _ in range(8)]
        try:
            wait_until(lambda: sizes and batcher.waiting == 7)
            app.extensions["serving"].drain()
            assert posted(url, pictures()).status == 503
        finally:
            goes_on.set()
        assert [answer.result().status for answer in pending] == [200] * 8
    assert len(sizes) == 8


def kinds_below(kind):
    """Return the subclasses, and theirs."""
    return [each for below in kind.__subclasses__() for each in (below, *kinds_below(below))]


def test_every_refusal_of_the_runtime_has_a_status():
    instances = [refusals.QueueFullError(8, 2.6)]
    instances += [kind() for kind in kinds_below(refusals.Refusal) if kind is not refusals.QueueFullError]
    answers = {type(refusal).__name__: answer_to(refusal) for refusal in instances}
    assert {name: (answer.status, answer.retry_after) for name, answer in answers.items()} == {
        "QueueFullError": (429, 2.6),
        "ClientGoneError": (499, None),
        "ModelFailedError": (500, None),
        "LoadingError": (503, 1),
        "LoadFailedError": (503, 1),
        "MemoryLowError": (503, 1),
        "ModelLostError": (503, None),
        "DrainingError": (503, 1),
        "DeadlinePassedError": (504, None),
    }
    assert all(answer.reason for answer in answers.values())


def listening_port(process, timeout=60.0):
    """Return the port of a server that has not printed it yet."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and process.poll() is None:
        for connection in psutil.Process(process.pid).net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                return connection.laddr.port
        time.sleep(0.02)
    pytest.fail("the server never listened")


def test_not_ready_is_503_without_asserts_too(small_cache, tmp_path):
    """`python -O` removes every assert; the model is built only once the file exists."""
    release = tmp_path / "release"
    start = [sys.executable, "-O", "-m", "tests.serving.slow_start", str(release), "optimised", "--port", "0"]
    with subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            url = f"http://127.0.0.1:{listening_port(process)}"
            with contextlib.closing(Connection(url, 20)) as connection:
                for _ in range(3):
                    assert connection.get("/health").status == 200
                    for answer in (connection.get("/ready"), connection.post(*as_npy(pictures()))):
                        assert (answer.status, answer.body["error"]) == (503, "the model is loading")
                        assert int(answer.headers["Retry-After"]) >= 1
            release.touch()
            assert url in process.stdout.readline()
            assert posted(url, pictures()).status == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


def test_only_variants_that_read_no_pickles_listen_beyond_loopback(monkeypatch, capsys):
    """The check runs before the server listens, and depends on what a variant accepts, not on its name."""
    reads_pickles = [name for name, variant in VARIANTS.items() if PICKLE in variant.accepts]
    assert reads_pickles == ["baseline", "preloaded", "memoised"]
    for name in VARIANTS:
        options = [name, "--host", "0.0.0.0"]  # noqa: S104 - nothing is bound
        if name in reads_pickles:
            with pytest.raises(SystemExit) as caught:
                parse(options)
            assert caught.value.code == 2
            assert f"{name} reads pickles" in capsys.readouterr().err
        else:
            parse(options)
        parse([*options, "--i-trust-every-client"])
    monkeypatch.setitem(VARIANTS, "renamed", VARIANTS["baseline"])
    with pytest.raises(SystemExit):
        parse(["renamed", "--host", "0.0.0.0"])  # noqa: S104 - nothing is bound


def test_a_pickle_reader_does_not_start_beyond_loopback(monkeypatch):
    monkeypatch.setattr(server, "Server", lambda *_: pytest.fail("the server listened"))
    with pytest.raises(SystemExit) as caught:
        main(["baseline", "--host", "0.0.0.0", "--port", "0"])  # noqa: S104 - main must refuse it
    assert caught.value.code == 2


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_failed_start_prints_its_reason(variant, capsys):
    reason = "cannot start: torchvision has no classifier 'vit_xxl'"
    try:
        assert main([variant, "--model", "vit_xxl", "--port", "0"]) == 1
    except SystemExit as error:  # a variant that loads its model before it listens
        assert str(error).startswith(reason)  # noqa: PT017 - see above
    else:
        assert reason in capsys.readouterr().err
    assert capsys.readouterr().out == ""
