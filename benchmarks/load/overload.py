"""Overload: requests at a steady rate above a server's capacity."""

import statistics
import time
from contextlib import closing
from dataclasses import dataclass
from threading import Event, Thread

import psutil

from .clients import p99
from .open_loop import OpenLoop

__all__ = ["Outcome", "overload"]

SAMPLING = 0.25  # seconds between two readings of the server's memory


@dataclass(frozen=True)
class Outcome:
    """The outcome of an overload.

    Attributes:
        accepted, refused: Seconds of the requests that were answered 200, and 429, from when each was due.
        others: Statuses of all other answers.
        wrong: How many accepted requests had a wrong prediction.
        seconds: Duration of the overload.
        memory: Resident set of the server at the start, at its maximum, and at the end, in bytes.
    """

    accepted: list[float]
    refused: list[float]
    others: list[int]
    wrong: int
    seconds: float
    memory: tuple[int, int, int]

    def __str__(self) -> str:
        """Return it in one line."""
        start, most, end = (size / 2**20 for size in self.memory)
        return (
            f"{len(self.accepted) + len(self.refused)} requests in {self.seconds:.0f} s: {len(self.accepted)} accepted "
            f"(p50 {statistics.median(self.accepted):.2f} s, p99 {p99(self.accepted):.2f} s, {self.wrong} wrong), "
            f"{len(self.refused)} answered 429 (p50 {1e3 * statistics.median(self.refused):.1f} ms, p99 "
            f"{1e3 * p99(self.refused):.1f} ms), {len(self.others)} others; memory {start:.0f} MiB at the start, "
            f"at most {most:.0f}, {end:.0f} at the end"
        )


def overload(url: str, process: psutil.Process, rate: float, seconds: float, clients: int = 256) -> Outcome:
    """Post `rate` requests per second, one image each, for `seconds`; compare each answer with its picture's class."""
    memory, ended = [process.memory_info().rss], Event()

    def watch() -> None:
        while not ended.wait(SAMPLING):
            memory.append(process.memory_info().rss)

    watching = Thread(target=watch)
    watching.start()
    start = time.perf_counter()
    try:
        with closing(OpenLoop(url, clients=clients)) as load:
            replies = load.post([place / rate for place in range(int(rate * seconds))])
    finally:
        ended.set()
        watching.join()
    memory.append(process.memory_info().rss)
    accepted = [reply for reply in replies if reply.answer.status == 200]
    return Outcome(
        [reply.waited for reply in accepted],
        [reply.waited for reply in replies if reply.answer.status == 429],
        [reply.answer.status for reply in replies if reply.answer.status not in (200, 429)],
        sum(reply.answer.body["predictions"][0]["index"] != reply.kind for reply in accepted),
        time.perf_counter() - start,
        (memory[0], max(memory), memory[-1]),
    )
