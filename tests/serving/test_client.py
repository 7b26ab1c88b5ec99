"""The task's client: data, encodings, plot, connections, and servers that do not answer."""

import contextlib
import socket
import threading
import time

import numpy as np
import pytest
import torch
from torchvision.transforms.v2.functional import resize

from impl.serving import VARIANTS, ServingConfig, client
from impl.serving.http.pickled import unpickled
from tests.serving.conftest import TINY


def test_fake_data_replaces_missing_data(tmp_path):
    images, description = client.load_images(5, tmp_path, download=False)
    assert (images.shape, images.dtype) == ((5, 32, 32, 3), np.uint8)
    assert description.startswith("FakeData, because CIFAR-10 is not in")
    assert (client.load_images(5, tmp_path, download=False)[0] == images).all()


def test_a_download_that_fails(tmp_path, monkeypatch):
    def fail(*_arguments, **options):
        raise (OSError("no network") if options.get("download") else RuntimeError("not found"))

    monkeypatch.setattr("torchvision.datasets.CIFAR10", fail)
    assert client.load_images(2, tmp_path)[1].endswith("could not be fetched (no network)")


def test_the_pickle_equals_the_original_clients():
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    body, kind = client.as_pickle(images)
    boundary = kind.partition("boundary=")[2].encode()
    _, head_and_file, _ = body.split(b"--" + boundary)
    head, _, file = head_and_file.partition(b"\r\n\r\n")
    assert b'name="train_image"; filename="train_image.pkl"' in head
    tensor = unpickled(file)
    assert (tensor.shape, tensor.dtype) == ((2, 3, 224, 224), torch.float32)
    expected = resize(torch.from_numpy(images).permute(0, 3, 1, 2), [224, 224], antialias=True) / 255
    assert (tensor - expected).abs().max() < 2 / 255  # resizing a tensor rounds differently from resizing a picture


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_run_with_its_plot(suffix, build, listen, tmp_path, capsys):
    url = listen(build())
    plot = tmp_path / f"times.{suffix}"
    arguments = ["--url", url, "--requests", "6", "--batch", "3", "--concurrency", "2", "--no-download"]
    assert client.main([*arguments, "--data", str(tmp_path), "--plot", str(plot)]) == 0
    output = capsys.readouterr().out
    assert "FakeData" in output
    assert "6 requests: maximum" in output
    drawn = plot.read_bytes()
    assert drawn.startswith(b"\x89PNG" if suffix == "png" else b"<?xml")
    if suffix == "svg":
        assert all(word.encode() in drawn for word in ("maximum", "mean", "minimum"))


def test_every_request_has_its_own_images(build, listen, tmp_path):
    url = listen(build(cache_mb=1))
    images, _ = client.load_images(8, tmp_path, download=False)
    bodies = [client.as_npy(part) for part in np.split(images, 4)]
    assert [answer.body["cached"] for answer in client.post_all(url, bodies * 2)] == [False] * 4 + [True] * 4


def test_a_variant_that_reads_pickles_gets_pickles(listen, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "SIDE", 64)
    url = listen(VARIANTS["memoised"](ServingConfig(model=TINY)))
    assert client.main(["--url", url, "--requests", "3", "--batch", "2", "--data", str(tmp_path), "--no-download"]) == 0


def test_no_server():
    with pytest.raises(SystemExit, match="cannot be reached"):
        client.main(["--url", "http://127.0.0.1:9"])


def test_a_request_that_fails(build, listen, tmp_path):
    url = listen(build(max_batch=2))
    with pytest.raises(SystemExit, match=r"2 of 2 requests failed; the first: 413 .*more than 2 images"):
        client.main(["--url", url, "--requests", "2", "--batch", "3", "--data", str(tmp_path), "--no-download"])


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
def script():
    """Start a server with one script per connection: how many requests it answers, and if it then reads another."""
    with contextlib.ExitStack() as stack:

        def start(*connections):
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            server.settimeout(5)
            read = []

            def follow():
                for answered, reads_one_more in connections:
                    with contextlib.suppress(TimeoutError), server.accept()[0] as connection:
                        for number in range(answered + reads_one_more):
                            read.append(connection.recv(10_000))
                            if number < answered:
                                connection.sendall(ANSWER)

            thread = threading.Thread(target=follow, daemon=True)
            thread.start()
            return f"http://127.0.0.1:{server.getsockname()[1]}", read, thread

        yield start


def test_an_idle_connection_that_the_server_closed_is_replaced(script):
    url, read, thread = script((1, False), (1, False))
    with contextlib.closing(client.Connection(url, 5)) as connection:
        assert connection.get("/one").status == 200
        time.sleep(0.05)
        assert connection.get("/two").status == 200
    thread.join(5)
    assert [request.split()[1] for request in read] == [b"/one", b"/two"]


def test_a_request_that_was_sent_is_not_sent_again(script):
    """The server may have acted on it."""
    url, read, thread = script((1, True), (1, False))
    with contextlib.closing(client.Connection(url, 5)) as connection:
        assert connection.get("/one").status == 200
        with pytest.raises(ConnectionError):
            connection.get("/two")
        assert [request.split()[1] for request in read] == [b"/one", b"/two"]
        assert connection.get("/three").status == 200
    thread.join(5)
