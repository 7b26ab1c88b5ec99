"""A load test of several minutes: `make soak` starts the server with ViT-L/32, loads it, and prints the outcome.

An overload at four times its capacity for 60 s, 10,000 malformed requests over sockets, and answers that are compared
before, during and after. The exit status is 0 only if every check held.
"""

import argparse
import random
import re
import socket
import sys
import time
from urllib.parse import urlsplit

from benchmarks.load.clients import Clients, p99
from benchmarks.load.overload import Outcome, overload
from benchmarks.load.servers import running
from impl.serving import VARIANTS, ServingConfig
from impl.serving.client import as_npy
from impl.serving.model.pictures import draw_pictures
from impl.variant import best_of
from tests.serving.test_inputs import malformed

CLIENTS = 32
COMPARED = 10 * CLIENTS  # images, before and after
REFUSED_WITHIN = 0.05
GROWTH = 128 * 2**20


def post_malformed(url: str, count: int) -> dict[str, int]:
    """Send malformed requests over sockets; return how many were answered with each status."""
    rng, statuses = random.Random(2026), {}
    parts = urlsplit(url)
    for _ in range(count):
        body, kind = malformed(rng)
        kind = kind.replace("\0", "")
        head = f"POST /predict HTTP/1.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection((parts.hostname, parts.port), 30) as connection:
            connection.sendall(head.encode("latin-1") + body)
            answer = connection.recv(4096)
        status = re.match(rb"HTTP/1.1 (\d+)", answer)
        name = status[1].decode() if status else "none"
        statuses[name] = statuses.get(name, 0) + 1
    return statuses


def compare(url: str, requests: int) -> tuple[int, float]:
    """Let 32 clients send one image per request; return the number of right answers, and images per second."""
    clients = Clients(url, CLIENTS)
    pictures, kinds = draw_pictures(requests, 77)
    start = time.perf_counter()
    answers = clients.post([as_npy(pictures[index : index + 1]) for index in range(requests)])
    seconds = time.perf_counter() - start
    clients.close()
    right = sum(
        answer.status == 200 and answer.body["predictions"][0]["index"] == kind
        for answer, kind in zip(answers, kinds.tolist(), strict=True)
    )
    return right, requests / seconds


def judge(
    outcome: Outcome, capacity: float, statuses: dict[str, int], right: tuple[int, int], memory: tuple[int, int]
) -> dict[str, bool]:
    """Return whether each check held; `right` and `memory` are answers and bytes before and after."""
    bound = (ServingConfig.max_queue + ServingConfig.max_batch) / capacity
    refusals = {"200", "400", "413", "415", "422"}
    return {
        "every answer right": right == (COMPARED, COMPARED) and not outcome.wrong,
        "only 200, 400, 413, 415 and 422 for malformed requests": not set(statuses) - refusals,
        "only 200 and 429 in overload": not outcome.others,
        f"p99 of the accepted within twice {bound:.2f} s": p99(outcome.accepted) <= 2 * bound,
        f"p99 of the refused within {1e3 * REFUSED_WITHIN:.0f} ms": p99(outcome.refused) <= REFUSED_WITHIN,
        "memory flat": memory[1] - memory[0] <= GROWTH,
    }


def main() -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.serving.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="duration of the overload")
    parser.add_argument("--malformed", type=int, default=10_000, help="number of malformed requests")
    options = parser.parse_args()
    misses = []
    with running("-m", "impl.serving", best_of(VARIANTS), "--port", "0") as (url, process):
        compare(url, 2 * CLIENTS)
        start = process.memory_info().rss
        before, capacity = compare(url, COMPARED)
        print(f"{COMPARED} images from {CLIENTS} clients: {before} right, {capacity:.1f} images per second", flush=True)
        statuses = post_malformed(url, options.malformed)
        print(f"{options.malformed} malformed requests: {statuses}", flush=True)
        outcome = overload(url, process, 4 * capacity, options.seconds)
        print(f"overload at {4 * capacity:.0f} images per second: {outcome}", flush=True)
        after, _ = compare(url, COMPARED)
        end = process.memory_info().rss
        print(f"afterwards: {after} of {COMPARED} right; memory {start / 2**20:.0f} and {end / 2**20:.0f} MiB")
        checks = judge(outcome, capacity, statuses, (before, after), (start, end))
        misses = [name for name, held in checks.items() if not held]
        for name, held in checks.items():
            print(f"{'holds' if held else 'MISSED'}: {name}")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
