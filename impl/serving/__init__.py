"""Serving: a Flask application classifies images with torchvision's ViT-L/32 at `POST /predict`.

The original builds the model anew for every request, and reads a pickled float32 tensor [64, 3, 224, 224] from the
network. `VARIANTS[name](ServingConfig(...))` returns a WSGI application; `python -m impl.serving NAME` runs it, and
`python -m impl.serving.client` is the client of the task.
"""

from flask import Flask

from ..variant import SAME_PREDICTIONS, Variant, agreement
from . import baseline, memoised, optimised, preloaded
from .config import ServingConfig
from .http import inputs, pickled

__all__ = ["VARIANTS", "ServingConfig"]

VARIANTS: dict[str, Variant[[ServingConfig], Flask]] = {
    "baseline": Variant(baseline.build, SAME_PREDICTIONS, accepts=pickled.ACCEPTED),
    "preloaded": Variant(preloaded.build, SAME_PREDICTIONS, accepts=pickled.ACCEPTED),
    "memoised": Variant(memoised.build, SAME_PREDICTIONS, accepts=pickled.ACCEPTED, caches=True),
    "optimised": Variant(optimised.build, agreement(0.97), accepts=inputs.ACCEPTED, caches=True, best=True),
}
