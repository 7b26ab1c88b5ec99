"""`preloaded` with a cache of answers, keyed by the bytes of the request.

Why it is faster than `preloaded`: it is not, for images that it has not seen. For a request with the same bytes as an
earlier one it computes a digest and nothing else. A published result of this task measured only that: its client posted
one batch ten times. The benchmark times cache hits in a table of their own. The original's client sends its requests
from a thread pool (`client --concurrency`).

What it costs: unbounded memory, as in the original. It reads pickles: it listens on loopback only, unless every client
is trusted.
"""

import hashlib

import torch
from flask import Flask

from .config import ServingConfig
from .http.pickled import application, unpickled
from .preloaded import predictor

__all__ = ["build"]


def build(config: ServingConfig) -> Flask:
    """Return the application."""
    predict = predictor(config)
    answers: dict[bytes, torch.Tensor] = {}

    def memoised(body: bytes) -> torch.Tensor:
        key = hashlib.sha256(body).digest()
        if key not in answers:
            answers[key] = predict(unpickled(body))
        return answers[key]

    return application(memoised)
