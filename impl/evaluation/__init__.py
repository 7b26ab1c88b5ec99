"""Evaluation.

Classify MNIST test images, uint8 [N, 28, 28], by a small trained CNN, and say how many of the predictions are right.

`VARIANTS[name](model, device="cpu")` prepares and returns an evaluator; `evaluator(images, labels)` takes NumPy arrays
or tensors and returns an `Evaluation`. A variant that this machine cannot run raises `UnsupportedError`, with its
reason.
"""

from collections.abc import Callable

from . import baseline, batched, compiled, low_precision, optimised
from .contract import Evaluation, Evaluator, UnsupportedError
from .data import load_data
from .training import load_model

__all__ = ["VARIANTS", "Evaluation", "Evaluator", "UnsupportedError", "load_data", "load_model"]

VARIANTS: dict[str, Callable[..., Evaluator]] = {
    "baseline": baseline.build,
    "batched": batched.build,
    "optimised": optimised.build,
    "low_precision": low_precision.build,
    "compiled": compiled.build,
}
