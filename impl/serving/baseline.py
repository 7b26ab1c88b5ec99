"""The original: it builds the model for every request, initialises random weights and then copies the right ones over.

It reads pickles, which run any code of the sender: it listens on loopback only, unless every client is trusted.
"""

import torch
from flask import Flask

from .config import ServingConfig
from .http.pickled import application, unpickled
from .model.weights import build as build_once
from .model.weights import rebuild

__all__ = ["build"]


def build(config: ServingConfig) -> Flask:
    """Return the application."""
    _, source = build_once(config)  # an unknown name or a damaged file ends the start, not the first request

    def predict(body: bytes) -> torch.Tensor:
        model = rebuild(config.model, source)
        with torch.no_grad():
            logits: torch.Tensor = model(unpickled(body))
        return logits

    return application(predict)
