"""Clients of a server, and the requests that they send: each with pictures that no server has seen."""

import itertools
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from impl.serving.client import Answer, Connection
from impl.serving.http.pickled import HEADER
from impl.serving.model.pictures import draw_pictures

__all__ = [
    "Answered",
    "Clients",
    "Encode",
    "Requests",
    "WrongAnswerError",
    "check_answers",
    "classes_of",
    "p99",
    "unseen_pictures",
]

Body = tuple[Any, ...]
"""The arguments of `Connection.post`: bytes, media type and, optionally, path."""
Encode = Callable[[NDArray[np.uint8]], Body]

seeds = itertools.count(1)


def unseen_pictures(count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return pictures that were never sent before, uint8 [count, 32, 32, 3], and their classes, int64 [count]."""
    return draw_pictures(count, next(seeds))


def p99(seconds: Sequence[float]) -> float:
    """Return the 99th percentile."""
    return statistics.quantiles(seconds, n=100, method="inclusive")[98]


class WrongAnswerError(AssertionError):
    """A server answered with an error, from a cache, or with wrong predictions."""


def classes_of(answer: Answer) -> list[int]:
    """Return the predicted classes of an answer; the originals send them in a header.

    Raises:
        WrongAnswerError: The answer is an error, or comes from an answer cache.
    """
    if answer.status != 200 or answer.body.get("success") is not True:
        raise WrongAnswerError(f"status {answer.status}: {answer.body}")
    if HEADER in answer.headers:
        return [int(word) for word in answer.headers[HEADER].split()]
    if answer.body.get("cached", False) is not False:
        raise WrongAnswerError("the server had seen these images")
    return [prediction["index"] for prediction in answer.body["predictions"]]


class Answered(NamedTuple):
    """The answers to some requests, and for each of them the classes of the pictures that were sent."""

    answers: list[Answer]
    expected: list[list[int]]


def check_answers(answered: Answered, least: float = 0.97) -> None:
    """Check answers by the classes of the pictures.

    Raises:
        WrongAnswerError: Fewer than `least` of the pictures were recognised, or an answer is not one.
    """
    right = total = 0
    for answer, expected in zip(*answered, strict=True):
        predicted = classes_of(answer)
        if len(predicted) != len(expected):
            raise WrongAnswerError(f"{len(predicted)} predictions for {len(expected)} images")
        right += sum(map(int.__eq__, predicted, expected))
        total += len(expected)
    if right < least * total:
        raise WrongAnswerError(f"{right / total:.1%} of the predictions are right; {least:.1%} are required")


class Clients:
    """Concurrent clients, each with a connection that stays open."""

    def __init__(self, url: str, count: int = 1) -> None:
        """Set up; they connect at their first request."""
        self._connections = [Connection(url) for _ in range(count)]
        self._pool = ThreadPoolExecutor(count)

    def post(self, bodies: Sequence[Body]) -> list[Answer]:
        """Let each client post its share of the bodies, one after the other; return the answers in order."""
        count = len(self._connections)

        def share(client: int) -> list[Answer]:
            return [self._connections[client].post(*body) for body in bodies[client::count]]

        shares = list(self._pool.map(share, range(count)))
        return [shares[place % count][place // count] for place in range(len(bodies))]

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections:
            connection.close()
        self._pool.shutdown()


class Requests:
    """One side of a duel: each call posts requests with unseen pictures, which are drawn and encoded before the call.

    Attributes:
        turn: Returns a context in which the server runs; for servers that are suspended in between.
        seconds: Of all requests so far.
    """

    def __init__(self, clients: Any, encode: Encode, *, requests: int = 1, images: int = 1) -> None:
        """Prepare the first call.

        Args:
            clients: `Clients`, or another object with such a `post`.
            encode: Makes a body of pictures.
            requests: How many one call posts.
            images: How many one request holds.
        """
        self._clients, self._encode = clients, encode
        self._requests, self._images = requests, images
        self.turn: Callable[[], AbstractContextManager[Any]] = nullcontext
        self.seconds: list[float] = []
        self.prepare()

    def prepare(self) -> None:
        """Draw and encode the pictures of the next call."""
        pictures, classes = unseen_pictures(self._requests * self._images)
        parts = range(0, len(pictures), self._images)
        self._bodies = [self._encode(pictures[start : start + self._images]) for start in parts]
        self._expected = [classes[start : start + self._images].tolist() for start in parts]

    def __call__(self) -> Answered:
        """Post the requests and return the answers."""
        with self.turn():
            answers = self._clients.post(self._bodies)
        self.seconds += [answer.seconds for answer in answers]
        return Answered(answers, self._expected)

    def check(self, answered: Answered) -> None:
        """Check the answers of a call, and prepare the next one.

        Raises:
            WrongAnswerError: see `check_answers`.
        """
        check_answers(answered)
        self.prepare()
