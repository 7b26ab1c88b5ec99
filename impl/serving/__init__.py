"""Serving.

A Flask application classifies images with torchvision's ViT-L/32 at `POST /predict`. The original builds the model anew
for every request, and reads a pickled float32 tensor [64, 3, 224, 224] from the network.

`VARIANTS[name](ServingConfig(...))` returns a WSGI application; `python -m impl.serving NAME` runs it, and
`python -m impl.serving.client` is the client of the task.
"""

from collections.abc import Callable

from flask import Flask

from . import baseline, memoised, optimised, preloaded
from .config import ServingConfig

__all__ = ["VARIANTS", "ServingConfig"]

VARIANTS: dict[str, Callable[[ServingConfig], Flask]] = {
    "baseline": baseline.build,
    "preloaded": preloaded.build,
    "memoised": memoised.build,
    "optimised": optimised.build,
}
