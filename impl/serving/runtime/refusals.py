"""Why the runtime does not answer a request. It knows nothing of HTTP: `http.errors` maps each reason to a status."""

__all__ = [
    "ClientGoneError",
    "DeadlinePassedError",
    "DrainingError",
    "LoadFailedError",
    "LoadingError",
    "MemoryLowError",
    "ModelFailedError",
    "ModelLostError",
    "QueueFullError",
    "Refusal",
]


class Refusal(Exception):  # noqa: N818 - not every one is an error: the queue is full as it should be
    """A request that is not answered, with the reason for the client."""

    reason = "the request is refused"

    def __init__(self, reason: str | None = None) -> None:
        self.reason = reason or type(self).reason
        super().__init__(self.reason)


class QueueFullError(Refusal):
    """As many images, or bodies, wait as may.

    Attributes:
        seconds: How long these take, by the time per image of late.
    """

    def __init__(self, waiting: int, seconds: float, what: str = "images") -> None:
        super().__init__(f"{waiting} {what} are waiting, which is the limit")
        self.seconds = seconds


class LoadingError(Refusal):
    """The model is not loaded yet."""

    reason = "the model is loading"


class LoadFailedError(Refusal):
    """The model could not be loaded, and will not be."""

    reason = "the model could not be loaded"


class MemoryLowError(Refusal):
    """The process is near its limit of memory; it admits requests again once it is not."""

    reason = "the server has no memory for more requests at present"


class DrainingError(Refusal):
    """The server is shutting down: it answers what it accepted, and accepts nothing more."""

    reason = "the server is draining: no new requests"


class DeadlinePassedError(Refusal):
    """The request ran out of time while it waited or while the model ran."""

    reason = "the deadline passed before the model was done"


class ClientGoneError(Refusal):
    """The client closed its connection before its turn, so that no one would read the answer."""

    reason = "the client has gone"


class ModelFailedError(Refusal):
    """The model raised an exception, which is in the log."""

    reason = "the model failed"


class ModelLostError(Refusal):
    """The thread that ran the model has ended; its exception is in the log."""

    reason = "the model's thread has ended: the server has to be started again"
