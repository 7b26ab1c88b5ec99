"""Servers as processes of their own, and the load that clients put on them."""

import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from impl.serving.client import Answer, Connection, as_npy
from impl.serving.model.pictures import draw_pictures


@contextmanager
def running(*command: str, patience: float = 300.0) -> Iterator[tuple[str, psutil.Process]]:
    """Start a server that prints its address when it is ready; yield that and the process, and end it."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own
    timer = threading.Timer(patience, process.kill)
    timer.start()
    try:
        said = process.stdout.readline() if process.stdout else ""
        timer.cancel()
        found = re.search(r"http://[\d.]+:\d+", said)
        if not found:
            raise RuntimeError(f"{' '.join(command)} did not say where it listens, but {said!r}")
        yield found[0], psutil.Process(process.pid)
    finally:
        timer.cancel()
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _, left = psutil.wait_procs(family, 5)  # LitServe leaves its workers behind
        for child in left:
            child.kill()
        if process.stdout:
            process.stdout.close()


class Halted:
    """Servers that are stopped, each but for its turn: one that looks for work all the time takes it from the others.

    LitServe's processes take 10 to 12 % of a core while nothing is asked of them (2.6, 2026-11-23).
    """

    def __init__(self, *servers: psutil.Process) -> None:
        """Stop them, with the processes they have started."""
        self._families = {server: [server, *server.children(recursive=True)] for server in servers}
        for server in servers:
            self._stop(server)

    @contextmanager
    def but_for(self, server: psutil.Process) -> Iterator[None]:
        """Let one of them run."""
        self._go_on(server)
        try:
            yield
        finally:
            self._stop(server)

    def close(self) -> None:
        """Let all of them run."""
        for server in self._families:
            self._go_on(server)

    def _stop(self, server: psutil.Process) -> None:
        for process in self._families[server]:
            process.suspend()

    def _go_on(self, server: psutil.Process) -> None:
        for process in self._families[server]:
            process.resume()


class Clients:
    """So many clients, each with a connection of its own that stays open."""

    def __init__(self, url: str, count: int) -> None:
        """Set up; they connect when they are first used."""
        self._connections = [Connection(url) for _ in range(count)]
        self._pool = ThreadPoolExecutor(count)

    def post(self, bodies: Sequence[tuple[bytes, str]]) -> list[Answer]:
        """Have each client post its share of the bodies, one after the other; return the answers in order."""
        count = len(self._connections)

        def share(client: int) -> list[Answer]:
            return [self._connections[client].post(*body) for body in bodies[client::count]]

        shares = list(self._pool.map(share, range(count)))
        return [shares[place % count][place // count] for place in range(len(bodies))]

    def close(self) -> None:
        """Hang up."""
        for connection in self._connections:
            connection.close()
        self._pool.shutdown()


@dataclass(frozen=True)
class Outcome:
    """What an overload ended in: seconds of the accepted and of the refused requests, and other statuses."""

    accepted: list[float]
    refused: list[float]
    others: list[int]
    wrong: int
    seconds: float
    memory: tuple[int, int, int]

    def __str__(self) -> str:
        """Say it in a line."""
        start, most, end = (size / 2**20 for size in self.memory)
        return (
            f"{len(self.accepted) + len(self.refused)} requests in {self.seconds:.0f} s: {len(self.accepted)} accepted "
            f"(p50 {statistics.median(self.accepted):.2f} s, p99 {p99(self.accepted):.2f} s, {self.wrong} wrong), "
            f"{len(self.refused)} answered 429 (p50 {1e3 * statistics.median(self.refused):.1f} ms, p99 "
            f"{1e3 * p99(self.refused):.1f} ms), {len(self.others)} others; memory {start:.0f} MiB at the start, "
            f"{most:.0f} at most, {end:.0f} at the end"
        )


def p99(seconds: Sequence[float]) -> float:
    """Return the time that one in a hundred exceeds."""
    return statistics.quantiles(seconds, n=100, method="inclusive")[98]


def overload(url: str, process: psutil.Process, rate: float, seconds: float, clients: int = 256) -> Outcome:
    """Post one image at a time, at a steady rate whatever comes back, and note what does.

    The images are drawn from 200 pictures whose kinds the answers are held against.
    """
    pictures, kinds = draw_pictures(200, 99)
    bodies = [as_npy(pictures[place : place + 1]) for place in range(len(pictures))]
    tickets = iter(range(int(rate * seconds)))
    lock = threading.Lock()
    found: list[tuple[Answer, int]] = []
    memory = [process.memory_info().rss]
    start = time.perf_counter() + 0.5

    def client() -> None:
        connection = Connection(url)
        while True:
            with lock:
                ticket = next(tickets, None)
            if ticket is None:
                connection.close()
                return
            time.sleep(max(0.0, start + ticket / rate - time.perf_counter()))
            answer = connection.post(*bodies[ticket % len(bodies)])
            with lock:
                found.append((answer, int(kinds[ticket % len(bodies)])))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        memory.append(process.memory_info().rss)
        time.sleep(0.25)
    accepted = [(answer, kind) for answer, kind in found if answer.status == 200]
    return Outcome(
        [answer.seconds for answer, _ in accepted],
        [answer.seconds for answer, _ in found if answer.status == 429],
        [answer.status for answer, _ in found if answer.status not in (200, 429)],
        sum(answer.body["predictions"][0]["index"] != kind for answer, kind in accepted),
        time.perf_counter() - start,
        (memory[0], max(memory), memory[-1]),
    )
