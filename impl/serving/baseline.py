"""The original: the model is built for every request, random weights first and the right ones over them.

It reads pickles, which run whatever the sender wrote: it listens on loopback only, unless every client is trusted.
"""

import torch
from flask import Flask

from .config import ServingConfig
from .http.pickled import application, unpickled
from .model.weights import builder, rebuild, source_of

__all__ = ["build"]


def build(config: ServingConfig) -> Flask:
    """Return the application."""
    builder(config.model)  # an unknown name is said now, and not to the first client
    source = source_of(config)

    def predict(body: bytes) -> torch.Tensor:
        model = rebuild(config.model, source)
        with torch.no_grad():
            logits: torch.Tensor = model(unpickled(body))
        return logits

    return application(predict)
