"""What a service needs to know of the current request: its deadline, whether its client has gone, how to decode it."""

import time
from collections.abc import Callable

from flask import request

from ..runtime.batching import never
from ..runtime.service import Service
from .errors import ServingError
from .inputs import Decoder
from .strict import number_of, shown

__all__ = ["client_gone", "deadline_of", "decoder_of"]


def deadline_of(service: Service) -> float:
    """Admit the current request and return its deadline, on the clock of time.monotonic.

    Raises:
        Refusal: The service is not ready, or its queue is full.
        ServingError: 400, `timeout_ms` is not a positive number.
    """
    arrived = time.monotonic()
    service.admit()
    timeout_ms = service.config.timeout_ms
    text = request.args.get("timeout_ms")
    if text is not None:
        timeout_ms = min(number_of(text), timeout_ms)  # in this order NaN stays NaN
        if not timeout_ms > 0:
            raise ServingError(400, f"timeout_ms must be a number of milliseconds above 0, not {shown(repr(text))}")
    return arrived + timeout_ms / 1e3


def client_gone() -> Callable[[], bool]:
    """Return a function that says whether the client of the current request has closed its connection."""
    gone: Callable[[], bool] = request.environ.get("waitress.client_disconnected", never)
    return gone


def decoder_of(service: Service) -> Decoder:
    """Return the decoder for the model's image size and the configured limits.

    Raises:
        Refusal: There is no model yet.
    """
    return Decoder(service.prepared.side, service.config.max_batch, service.config.max_pixels)
