"""What a client is told where a request cannot be answered."""

__all__ = ["ServingError"]


class ServingError(Exception):
    """An answer that is an error: a status, a reason for the client, and perhaps when to come back.

    400 damaged or empty, 413 too large, 415 a type that is not accepted, 422 a wrong shape or dtype, 429 the queue is
    full, 499 the client has gone, 503 not ready or draining, 504 the deadline has passed.
    """

    def __init__(self, status: int, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after
