"""Open-loop load: requests at a steady rate, above a server's capacity, whatever comes back."""

import statistics
import threading
import time
from dataclasses import dataclass

import psutil

from impl.serving.client import Answer, Connection, as_npy
from impl.serving.model.pictures import draw_pictures

from .clients import p99

__all__ = ["Outcome", "overload"]

SAMPLING = 0.25  # seconds between two readings of the server's memory
PICTURES = 200


@dataclass(frozen=True)
class Outcome:
    """The outcome of an overload.

    Attributes:
        accepted, refused: Seconds of the requests that were answered 200, and 429, from when each was due: a request
            that waits for a free client, or for its turn to run, has waited.
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
    pictures, kinds = draw_pictures(PICTURES, 99)
    bodies = [as_npy(pictures[place : place + 1]) for place in range(PICTURES)]
    tickets = iter(range(int(rate * seconds)))
    lock = threading.Lock()
    answers: list[tuple[Answer, int, float]] = []
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
            due = start + ticket / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            answer = connection.post(*bodies[ticket % PICTURES])
            waited = time.perf_counter() - due
            with lock:
                answers.append((answer, int(kinds[ticket % PICTURES]), waited))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        memory.append(process.memory_info().rss)
        time.sleep(SAMPLING)
    return Outcome(
        [waited for answer, _, waited in answers if answer.status == 200],
        [waited for answer, _, waited in answers if answer.status == 429],
        [answer.status for answer, *_ in answers if answer.status not in (200, 429)],
        sum(answer.body["predictions"][0]["index"] != kind for answer, kind, _ in answers if answer.status == 200),
        time.perf_counter() - start,
        (memory[0], max(memory), memory[-1]),
    )
