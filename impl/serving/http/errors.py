"""Requests that cannot be answered: the status and reason of each, and when to try again."""

from collections.abc import Callable

from ..runtime.refusals import (
    ClientGoneError,
    DeadlinePassedError,
    DrainingError,
    LoadFailedError,
    LoadingError,
    MemoryLowError,
    ModelFailedError,
    ModelLostError,
    QueueFullError,
    Refusal,
)

__all__ = ["ServingError", "answer_to"]


class ServingError(Exception):
    """An answer that is an error: a status, a reason for the client, and the seconds after which to try again.

    400 damaged or empty, 413 too large, 415 a type that is not accepted, 422 a wrong shape or dtype, 429 the queue is
    full, 499 the client has gone, 503 not ready or draining, 504 the deadline has passed.
    """

    def __init__(self, status: int, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


# The status of each refusal, and the seconds of its Retry-After, where trying again can help.
REFUSALS: dict[type[Refusal], tuple[int, Callable[[Refusal], float] | None]] = {
    QueueFullError: (429, lambda refusal: getattr(refusal, "seconds", 1.0)),
    ClientGoneError: (499, None),
    ModelFailedError: (500, None),
    LoadingError: (503, lambda _: 1.0),
    LoadFailedError: (503, lambda _: 1.0),
    DrainingError: (503, lambda _: 1.0),
    MemoryLowError: (503, lambda _: 1.0),
    ModelLostError: (503, None),
    DeadlinePassedError: (504, None),
}


def answer_to(refusal: Refusal) -> ServingError:
    """Return the answer to a refused request."""
    status, retry_after = REFUSALS[type(refusal)]
    return ServingError(status, refusal.reason, retry_after(refusal) if retry_after else None)
