"""Open-loop load: each request is sent when it is due, whatever comes back, and its time counts from then."""

import http.client
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from email.message import Message

from impl.serving.client import Answer, Connection, as_npy
from impl.serving.model.pictures import draw_pictures

from .clients import Encode

__all__ = ["NOT_ANSWERED", "PICTURES", "SEED", "OpenLoop", "Reply"]

PICTURES, SEED = 200, 99
NOT_ANSWERED = 0  # the status of a request whose connection was closed
BEGIN = 0.5  # seconds until the first request may be due


@dataclass(frozen=True)
class Reply:
    """What came of one request.

    Attributes:
        answer: Of the server.
        kind: The class of the picture.
        waited: Seconds from when the request was due to the last byte: a request that waits for a free client, or for
            its turn to run, has waited.
    """

    answer: Answer
    kind: int
    waited: float


class OpenLoop:
    """Clients of one server, as many as it takes up to a limit; each has a connection that stays open."""

    def __init__(self, url: str, encode: Encode = as_npy, clients: int = 256) -> None:
        """Draw and encode the pictures.

        Args:
            url: Of the server.
            encode: Makes a body of one picture, uint8 [1, 32, 32, 3].
            clients: The most requests that are on their way at once; later ones wait.
        """
        pictures, kinds = draw_pictures(PICTURES, SEED)
        self._bodies = [encode(pictures[place : place + 1]) for place in range(PICTURES)]
        self._kinds = kinds.tolist()
        self._url, self._pool, self._local = url, ThreadPoolExecutor(clients), threading.local()
        self._connections: list[Connection] = []

    def post(self, due: Sequence[float]) -> list[Reply]:
        """Post one picture at each of these times, in seconds from the beginning; return the replies in their order.

        A request whose connection failed has the status NOT_ANSWERED.
        """
        start = time.perf_counter() + BEGIN
        replies = []
        for place, seconds in enumerate(due):
            time.sleep(max(0.0, start + seconds - time.perf_counter()))
            replies.append(self.submit(place % PICTURES, start + seconds))
        return [reply.result() for reply in replies]

    def submit(self, picture: int, due: float) -> Future[Reply]:
        """Post one of the PICTURES now; it was due at `due`, on the clock of time.perf_counter."""
        return self._pool.submit(self._post, picture, due)

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown()
        for connection in self._connections:
            connection.close()

    def _post(self, picture: int, due: float) -> Reply:
        if not hasattr(self._local, "connection"):
            self._local.connection = Connection(self._url)
            self._connections.append(self._local.connection)
        try:
            answer = self._local.connection.post(*self._bodies[picture])
        except (OSError, http.client.HTTPException):  # the next request opens another one
            answer = Answer(NOT_ANSWERED, {}, Message(), 0.0)
        return Reply(answer, self._kinds[picture], time.perf_counter() - due)
