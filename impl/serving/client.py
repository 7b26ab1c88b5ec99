"""The client of the task: posts batches, measures each request, and draws the times.

    python -m impl.serving.client --url http://127.0.0.1:8000 --requests 10 --batch 64 --concurrency 1 --plot times.png

CIFAR-10 comes from torchvision where it is on disk or can be fetched; otherwise torchvision's FakeData takes its place,
32 x 32 x 3 and seeded, and the output says so. Servers that say at /ready that they take arrays get the originals,
uint8 [N, 32, 32, 3], as .npy; the others get what the original client sent, a pickled float32 [N, 3, 224, 224].

Every request has images of its own. With --repeat all have the same bytes, which measures a server's memory of answers
and nothing else.
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
FETCHING = 10.0  # seconds until a download that does not begin is given up

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Answer:
    """What came back: the status, the body's JSON, the header fields, and the seconds it took."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]
    seconds: float


class Connection:
    """One connection to a server, kept open between requests; for one thread."""

    def __init__(self, url: str, timeout: float = 300.0) -> None:
        """Connect when it is first used.

        Raises:
            ValueError: The URL is not one of HTTP.
        """
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"the URL must begin with http://, and is {url!r}")
        self._http = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout)

    def post(self, body: bytes, content_type: str, path: str = "/predict") -> Answer:
        """Post and wait for the answer."""
        return self._send("POST", path, body, {"Content-Type": content_type})

    def get(self, path: str) -> Answer:
        """Get."""
        return self._send("GET", path, None, {})

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        start = time.perf_counter()
        fresh = self._http.sock is None
        try:
            self._http.request(method, path, body, headers)
            response = self._http.getresponse()
        except (ConnectionError, http.client.RemoteDisconnected):
            self._http.close()
            if fresh:
                raise
            return self._send(method, path, body, headers)  # the server has closed an idle connection, as it may
        if self._http.sock is not None:
            self._http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        text = response.read()
        seconds = time.perf_counter() - start
        try:
            found = json.loads(text)
        except ValueError:
            found = {}
        return Answer(response.status, found if isinstance(found, dict) else {}, dict(response.headers), seconds)


def load_images(count: int, root: Path, *, download: bool = True) -> tuple[Pixels, str]:
    """Return images, uint8 [count, 32, 32, 3], shuffled, and what they are."""
    from torchvision.datasets import CIFAR10, FakeData  # noqa: PLC0415 - takes a second, which --help need not wait for

    order = np.random.default_rng(SEED)
    before = socket.getdefaulttimeout()
    try:
        try:
            data = CIFAR10(str(root), train=False)
        except RuntimeError:
            if not download:
                raise
            socket.setdefaulttimeout(FETCHING)
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
    """Return the body and its type: the images as they are."""
    file = io.BytesIO()
    np.save(file, images, allow_pickle=False)
    return file.getvalue(), "application/x-npy"


def as_pickle(images: Pixels) -> tuple[bytes, str]:
    """Return the body and its type: resized to 224, to a float32 tensor, pickled, in the original's form."""
    import torch  # noqa: PLC0415 - takes a second, which --help need not wait for

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
    """Post every body, so many at a time, each thread on a connection of its own; return the answers in order."""
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
    """Say the times in a line."""
    return (
        f"{len(seconds)} requests: maximum {max(seconds):.3f} s, mean {statistics.mean(seconds):.3f} s, "
        f"minimum {min(seconds):.3f} s"
    )


def draw_times(path: Path, series: dict[str, Sequence[float]]) -> None:
    """Draw the seconds of each request as a PNG or SVG: a panel a series, with lines at maximum, mean and minimum."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes half a second, which only a plot has to wait for

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


def _form(url: str) -> Callable[[Pixels], tuple[bytes, str]]:
    """Ask the server what it takes."""
    connection = Connection(url, 10)
    try:
        accepts = connection.get("/ready").body.get("accepts", [])
    finally:
        connection.close()
    return as_npy if "application/x-npy" in accepts else as_pickle


def main(arguments: list[str] | None = None) -> int:
    """Run the client; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m impl.serving.client", description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--requests", type=int, default=10)
    parser.add_argument("--batch", type=int, default=64, help="images in one request")
    parser.add_argument("--concurrency", type=int, default=1, help="requests at the same time")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the times into a .png or .svg")
    parser.add_argument("--data", type=Path, default=cache_folder() / "cifar10", help="where CIFAR-10 is, or goes")
    parser.add_argument("--no-download", action="store_true", help="fetch nothing")
    parser.add_argument("--repeat", action="store_true", help="post the same bytes every time")
    options = parser.parse_args(arguments)
    if min(options.requests, options.batch, options.concurrency) < 1:
        parser.error("--requests, --batch and --concurrency must be at least 1")
    try:
        form = _form(options.url)
    except (OSError, ValueError) as error:
        sys.exit(f"{options.url} cannot be reached: {error}")
    different = 1 if options.repeat else options.requests
    images, told = load_images(different * options.batch, options.data, download=not options.no_download)
    print(f"data: {told}")
    bodies = [form(part) for part in np.split(images, different)] * (options.requests // different)
    with tqdm(total=options.requests, unit="request", disable=None) as bar:
        answers = post_all(options.url, bodies, options.concurrency, bar.update)
    wrong = [answer for answer in answers if answer.status != 200 or answer.body.get("success") is not True]
    if wrong:
        sys.exit(f"{len(wrong)} of {len(answers)} requests failed; the first: {wrong[0].status} {wrong[0].body}")
    seconds = [answer.seconds for answer in answers]
    print(summary(seconds))
    if options.plot:
        draw_times(options.plot, {options.url: seconds})
        print(f"plot: {options.plot}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
