"""The task's client: posts batches of images, times each request, and plots the times.

    python -m impl.serving.client --url http://127.0.0.1:8000 --requests 10 --batch 64 --concurrency 1 --plot times.png

CIFAR-10 comes from torchvision if it is on disk or can be downloaded; otherwise the client uses torchvision's
FakeData, seeded, 32 x 32 x 3, and prints that. A server that lists application/x-npy at /ready gets the unscaled
images, uint8 [N, 32, 32, 3], as .npy. Other servers get what the original client sent: a pickled float32
[N, 3, 224, 224].

Every request has different images. With --repeat all requests have the same bytes, which measures only a server's
answer cache.

The transport is the standard library's http.client, because urllib3 takes 0.13 ms more per request (0.40 ms instead of
0.27 for 3.2 kB; AMD EPYC, 2 cores, CPython 3.11, 2026-11-25), which a client that times requests would measure.
"""

import argparse
import http.client
import io
import json
import pickle
import secrets
import socket
import statistics
import sys
import threading
import time
import urllib.error
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from ..shared.cache import cache_folder

__all__ = ["Answer", "Connection", "as_npy", "as_pickle", "draw_times", "load_images", "post_all", "summary"]

SIDE = 224
SEED = 7
DOWNLOAD_TIMEOUT = 10.0  # seconds

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Answer:
    """A response: its status, JSON body and headers, and the seconds from sending the request to the last byte."""

    status: int
    body: dict[str, Any]
    headers: Message
    seconds: float


class Connection:
    """One connection to a server, kept open between requests. Not thread-safe."""

    def __init__(self, url: str, timeout: float = 300.0) -> None:
        """Prepare a connection, which opens at the first request.

        Raises:
            ValueError: The URL does not begin with http://.
        """
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"the URL must begin with http://, not {url!r}")
        self._http = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout)

    def post(self, body: bytes, content_type: str, path: str = "/predict") -> Answer:
        """Post a body and return the answer."""
        return self._send("POST", path, body, {"Content-Type": content_type})

    def get(self, path: str) -> Answer:
        """Get a path and return the answer."""
        return self._send("GET", path, None, {})

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        """Send one request without retrying: after an error the server may already have received it."""
        start = time.perf_counter()
        self._close_if_server_has()
        try:
            self._http.request(method, path, body, headers)
            response = self._http.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException):
            self._http.close()
            raise
        seconds = time.perf_counter() - start
        try:
            content = json.loads(text)
        except ValueError:
            content = {}
        return Answer(response.status, content if isinstance(content, dict) else {}, response.headers, seconds)

    def _close_if_server_has(self) -> None:
        """Close the connection if the server closed it while idle; the next request then opens a new one."""
        idle = self._http.sock
        if idle is None:
            return
        idle.setblocking(False)
        try:
            idle.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            idle.settimeout(self._http.timeout)
            return
        except OSError:
            pass
        self._http.close()  # end of stream, or bytes that belong to no request


def load_images(count: int, root: Path, *, download: bool = True) -> tuple[Pixels, str]:
    """Return shuffled images, uint8 [count, 32, 32, 3], and a description of them."""
    from torchvision.datasets import CIFAR10, FakeData  # noqa: PLC0415 - takes a second, which --help does not need

    order = np.random.default_rng(SEED)
    before = socket.getdefaulttimeout()
    try:
        try:
            data = CIFAR10(str(root), train=False)
        except RuntimeError:
            if not download:
                raise
            socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
            data = CIFAR10(str(root), train=False, download=True)
    except (RuntimeError, OSError, urllib.error.URLError) as error:
        reason = str(error).splitlines()[0]
        fake = FakeData(count, (3, 32, 32), random_offset=SEED)
        pixels = np.stack([np.asarray(fake[place][0]) for place in range(count)])
        return pixels, f"FakeData, because CIFAR-10 is not in {root} and could not be fetched ({reason})"
    finally:
        socket.setdefaulttimeout(before)
    places = np.concatenate([order.permutation(len(data.data)) for _ in range(-(-count // len(data.data)))])[:count]
    return np.ascontiguousarray(data.data[places]), "CIFAR-10"


def as_npy(images: Pixels) -> tuple[bytes, str]:
    """Return a body and its media type: the images unchanged, as a .npy file."""
    file = io.BytesIO()
    np.save(file, images, allow_pickle=False)
    return file.getvalue(), "application/x-npy"


def as_pickle(images: Pixels) -> tuple[bytes, str]:
    """Return a body and its media type: resized to 224, a pickled float32 tensor in a form, like the original's."""
    import torch  # noqa: PLC0415 - takes a second, which --help does not need

    resized = [Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR) for image in images]
    tensor = torch.from_numpy(np.stack([np.asarray(image) for image in resized])).permute(0, 3, 1, 2).contiguous()
    boundary = secrets.token_hex(16)
    head = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="train_image"; filename="train_image.pkl"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = b"".join([head.encode(), pickle.dumps(tensor.float() / 255), f"\r\n--{boundary}--\r\n".encode()])
    return body, f"multipart/form-data; boundary={boundary}"


def post_all(
    url: str, bodies: Sequence[tuple[bytes, str]], concurrency: int = 1, progress: Callable[[], object] = lambda: None
) -> list[Answer]:
    """Post every body from `concurrency` threads, each with its own connection; return the answers in order."""
    local = threading.local()
    opened: list[Connection] = []

    def post(body: tuple[bytes, str]) -> Answer:
        if not hasattr(local, "connection"):
            local.connection = Connection(url)
            opened.append(local.connection)
        answer: Answer = local.connection.post(*body)
        progress()
        return answer

    try:
        with ThreadPoolExecutor(concurrency) as pool:
            return list(pool.map(post, bodies))
    finally:
        for connection in opened:
            connection.close()


def summary(seconds: Sequence[float]) -> str:
    """Return a one-line summary of the times."""
    return (
        f"{len(seconds)} requests: maximum {max(seconds):.3f} s, mean {statistics.mean(seconds):.3f} s, "
        f"minimum {min(seconds):.3f} s"
    )


def draw_times(path: Path, series: dict[str, Sequence[float]]) -> None:
    """Plot the time of each request as PNG or SVG, one panel per series with lines at maximum, mean and minimum."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes half a second, which only a plot needs

    figure = Figure(figsize=(4.5 * len(series), 4), layout="constrained")
    for place, (name, seconds) in enumerate(series.items(), 1):
        axes = figure.add_subplot(1, len(series), place)
        axes.plot(range(1, len(seconds) + 1), seconds, marker="o", color="black")
        lines = (("maximum", max(seconds), "tab:red"), ("mean", statistics.mean(seconds), "tab:blue"))
        for label, value, colour in (*lines, ("minimum", min(seconds), "tab:green")):
            axes.axhline(value, color=colour, linestyle="--", label=f"{label} {value:.3f} s")
        axes.set(title=name, xlabel="request", ylabel="seconds", ylim=(0, 1.3 * max(seconds)))
        axes.legend(loc="upper right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _encoder(url: str) -> Callable[[Pixels], tuple[bytes, str]]:
    """Return the encoder for a format that the server accepts."""
    connection = Connection(url, 10)
    try:
        accepts = connection.get("/ready").body.get("accepts", [])
    finally:
        connection.close()
    return as_npy if "application/x-npy" in accepts else as_pickle


def main(arguments: list[str] | None = None) -> int:
    """Run the client and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m impl.serving.client", description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--requests", type=int, default=10)
    parser.add_argument("--batch", type=int, default=64, help="images in one request")
    parser.add_argument("--concurrency", type=int, default=1, help="concurrent requests")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="plot the times as .png or .svg")
    parser.add_argument("--data", type=Path, default=cache_folder() / "cifar10", help="the folder of CIFAR-10")
    parser.add_argument("--no-download", action="store_true", help="use only what is on disk")
    parser.add_argument("--repeat", action="store_true", help="post the same bytes every time")
    options = parser.parse_args(arguments)
    if min(options.requests, options.batch, options.concurrency) < 1:
        parser.error("--requests, --batch and --concurrency must be at least 1")
    try:
        encode = _encoder(options.url)
    except (OSError, ValueError) as error:
        sys.exit(f"{options.url} cannot be reached: {error}")
    bodies_count = 1 if options.repeat else options.requests
    images, description = load_images(bodies_count * options.batch, options.data, download=not options.no_download)
    print(f"data: {description}")
    bodies = [encode(part) for part in np.split(images, bodies_count)] * (options.requests // bodies_count)
    with tqdm(total=options.requests, unit="request", disable=None) as bar:
        answers = post_all(options.url, bodies, options.concurrency, bar.update)
    failed = [answer for answer in answers if answer.status != 200 or answer.body.get("success") is not True]
    if failed:
        sys.exit(f"{len(failed)} of {len(answers)} requests failed; the first: {failed[0].status} {failed[0].body}")
    seconds = [answer.seconds for answer in answers]
    print(summary(seconds))
    if options.plot:
        draw_times(options.plot, {options.url: seconds})
        print(f"plot: {options.plot}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
