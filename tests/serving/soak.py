"""A load test of several minutes: `make soak` starts the server with ViT-L/32, loads it, and prints the outcome.

Malformed requests of two kinds, ours over plain sockets and schemathesis' from the server's own description, while good
requests come at random times and slow clients send a byte per second; then an overload at four times the capacity for
60 s; and answers that are compared before and after. Meanwhile /health is asked all the time. The exit status is 0 only
if every check held.
"""

import argparse
import contextlib
import random
import re
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import psutil

from benchmarks.load.clients import Clients, p99
from benchmarks.load.open_loop import OpenLoop, Reply
from benchmarks.load.overload import Outcome, overload
from benchmarks.load.poisson import arrivals
from benchmarks.load.servers import running
from impl.serving import VARIANTS, ServingConfig
from impl.serving.client import Connection, as_npy
from impl.serving.model.pictures import draw_pictures
from impl.variant import best_of
from tests.serving.fuzz import fuzz, operations
from tests.serving.test_inputs import malformed

Work = Callable[[threading.Event], None]

CLIENTS = 32
COMPARED = 10 * CLIENTS  # images, before and after
SLOW_CLIENTS, PART = 1000, 10.0  # connections, and seconds of one part of the load at random times
RATE = 0.3  # of the capacity, beside malformed requests
REFUSED_WITHIN, HEALTH_WITHIN = 0.05, 0.5  # seconds
GROWTH = 128 * 2**20


@dataclass
class Findings:
    """What was seen.

    Attributes:
        capacity: Images per second from CLIENTS clients.
        right: Right answers of COMPARED, before and after.
        malformed, fuzzed: How many malformed requests, ours and schemathesis', were answered with each status.
        good: Good requests beside them.
        health: Seconds of each answer of /health.
        overloaded: The overload.
        memory: Resident set before and after, in bytes.
    """

    capacity: float = 0.0
    right: list[int] = field(default_factory=list)
    malformed: Counter[str] = field(default_factory=Counter)
    fuzzed: Counter[str] = field(default_factory=Counter)
    good: list[Reply] = field(default_factory=list)
    health: list[float] = field(default_factory=list)
    overloaded: Outcome | None = None
    memory: list[int] = field(default_factory=list)


def post_malformed(url: str, count: int) -> Counter[str]:
    """Send malformed requests over sockets; return how many were answered with each status."""
    rng, statuses, parts = random.Random(2026), Counter[str](), urlsplit(url)
    for _ in range(count):
        body, kind = malformed(rng)
        kind = kind.replace("\0", "")
        head = f"POST /predict HTTP/1.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection((parts.hostname, parts.port), 30) as connection:
            connection.sendall(head.encode("latin-1") + body)
            answer = connection.recv(4096)
        status = re.match(rb"HTTP/1.1 (\d+)", answer)
        statuses[status[1].decode() if status else "none"] += 1
    return statuses


def post_fuzz(url: str, count: int) -> Counter[str]:
    """Send what schemathesis makes of the description; return how many were answered with each status.

    Raises:
        AssertionError, Exception: An answer is not as the description says, a 500, no JSON, or too long.
    """
    statuses, every = Counter[str](), operations(url)
    posts = [label for label in every if label.startswith("POST")]
    for label, operation in every.items():  # the others have no parameters: one request is all there is
        found = fuzz(url, operation, round(count / len(posts)) if label in posts else 1, seed=1)
        statuses.update({str(status): number for status, number in found.items()})
    return statuses


def compare(url: str, requests: int) -> tuple[int, float]:
    """Let 32 clients send one image per request; return the number of right answers, and images per second."""
    pictures, kinds = draw_pictures(requests, 77)
    with contextlib.closing(Clients(url, CLIENTS)) as clients:
        start = time.perf_counter()
        answers = clients.post([as_npy(pictures[index : index + 1]) for index in range(requests)])
        seconds = time.perf_counter() - start
    right = sum(
        answer.status == 200 and answer.body["predictions"][0]["index"] == kind
        for answer, kind in zip(answers, kinds.tolist(), strict=True)
    )
    return right, requests / seconds


@contextlib.contextmanager
def beside(*works: Work) -> Iterator[None]:
    """Run works in threads until the end of the block; each takes an event that is set then.

    Raises:
        Exception: What the first of them that failed has raised.
    """
    ended, failures = threading.Event(), list[Exception]()

    def run(work: Work) -> None:
        try:
            work(ended)
        except Exception as error:  # noqa: BLE001 - raised below
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


def send_slowly(url: str, ended: threading.Event) -> None:
    """Hold SLOW_CLIENTS connections that send a byte of a header per second; open one that the server has closed."""
    parts, open_ = urlsplit(url), list[socket.socket]()
    while not ended.wait(1.0):
        for connection in list(open_):
            try:
                connection.sendall(b"a")
            except OSError:
                connection.close()
                open_.remove(connection)
        while len(open_) < SLOW_CLIENTS and not ended.is_set():
            open_.append(socket.create_connection((parts.hostname, parts.port), 30))
            open_[-1].sendall(b"GET /health HTTP/1.1\r\nX-A: ")
    for connection in open_:
        connection.close()


def send_good(url: str, rate: float, replies: list[Reply], ended: threading.Event) -> None:
    """Send good requests at random times."""
    with contextlib.closing(OpenLoop(url)) as load:
        seed = 1
        while not ended.is_set():
            replies += load.post(arrivals(rate, PART, seed))
            seed += 1


def ask_health(url: str, seconds: list[float], ended: threading.Event) -> None:
    """Ask for /health, on connections of its own."""
    while not ended.wait(0.05):
        with contextlib.closing(Connection(url, 30)) as connection:
            answer = connection.get("/health")
        seconds.append(answer.seconds if answer.status == 200 else float("inf"))


def judge(findings: Findings) -> dict[str, bool]:
    """Return whether each check held."""
    outcome, capacity = findings.overloaded, findings.capacity
    if outcome is None:
        raise ValueError("there was no overload")
    bound = (ServingConfig.max_queue + ServingConfig.max_batch) / capacity
    refusals = {"200", "400", "413", "415", "422"}
    fuzzed = refusals | {"504"}  # with ?timeout_ms=0.001, which schemathesis sends
    wrong = [reply for reply in findings.good if reply.answer.status != 200]
    return {
        "every answer right": findings.right == [COMPARED, COMPARED] and not outcome.wrong,
        f"only {', '.join(sorted(refusals))} for malformed requests": not set(findings.malformed) - refusals,
        f"only {', '.join(sorted(fuzzed))} for what schemathesis makes": not set(findings.fuzzed) - fuzzed,
        f"every good request beside them answered, of {len(findings.good)}": bool(findings.good) and not wrong,
        f"/health within {HEALTH_WITHIN} s, {len(findings.health)} times": max(findings.health) <= HEALTH_WITHIN,
        "only 200 and 429 in overload": not outcome.others,
        f"p99 of the accepted within twice {bound:.2f} s": p99(outcome.accepted) <= 2 * bound,
        f"p99 of the refused within {1e3 * REFUSED_WITHIN:.0f} ms": p99(outcome.refused) <= REFUSED_WITHIN,
        "memory flat": findings.memory[1] - findings.memory[0] <= GROWTH,
    }


def soak(url: str, process: psutil.Process, options: argparse.Namespace) -> Findings:
    """Load a server and return what was seen; print each part as it ends."""
    findings = Findings()
    compare(url, 2 * CLIENTS)
    post_malformed(url, 200)  # whatever it keeps from its first malformed requests is no growth
    findings.memory.append(process.memory_info().rss)
    right, findings.capacity = compare(url, COMPARED)
    findings.right.append(right)
    print(f"{right} of {COMPARED} images right, {findings.capacity:.1f} images per second", flush=True)
    with beside(
        lambda ended: send_slowly(url, ended),
        lambda ended: send_good(url, RATE * findings.capacity, findings.good, ended),
        lambda ended: ask_health(url, findings.health, ended),
    ):
        findings.malformed = post_malformed(url, options.malformed)
        findings.fuzzed = post_fuzz(url, options.fuzz)
    times = [reply.waited for reply in findings.good]
    print(f"malformed requests: {dict(findings.malformed)}; of schemathesis: {dict(findings.fuzzed)}", flush=True)
    print(f"beside them {len(times)} good ones, p99 {p99(times):.2f} s; /health at most {max(findings.health):.3f} s")
    findings.overloaded = overload(url, process, 4 * findings.capacity, options.seconds)
    print(f"overload at {4 * findings.capacity:.0f} images per second: {findings.overloaded}", flush=True)
    right, _ = compare(url, COMPARED)
    findings.right.append(right)
    findings.memory.append(process.memory_info().rss)
    before, after = (size / 2**20 for size in findings.memory)
    print(f"afterwards: {right} of {COMPARED} right; memory {before:.0f} and {after:.0f} MiB")
    return findings


def main() -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.serving.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="duration of the overload")
    parser.add_argument("--malformed", type=int, default=10_000, help="number of malformed requests of ours")
    parser.add_argument("--fuzz", type=int, default=20_000, help="number of requests that schemathesis makes")
    options = parser.parse_args()
    with running("-m", "impl.serving", best_of(VARIANTS), "--port", "0") as (url, process):
        checks = judge(soak(url, process, options))
    for name, held in checks.items():
        print(f"{'holds' if held else 'MISSED'}: {name}")
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
