"""Evaluation.

Classify MNIST test images, uint8 [N, 28, 28], with a small trained CNN, and report the share of correct predictions.

`VARIANTS[name](model, device="cpu")` prepares and returns an evaluator; `evaluator(images, labels)` takes NumPy arrays
or tensors and returns an `Evaluation`. A variant that this machine cannot run raises `UnsupportedError` with the
reason.
"""

from ..variant import SAME_PREDICTIONS, UnsupportedError, Variant, agreement
from . import baseline, batched, compiled, gpu, low_precision, optimised
from .contract import Evaluation, Evaluator
from .data import load_data
from .training import load_model

__all__ = ["VARIANTS", "Evaluation", "Evaluator", "UnsupportedError", "load_data", "load_model"]

VARIANTS: dict[str, Variant[..., Evaluator]] = {
    "baseline": Variant(baseline.build, SAME_PREDICTIONS),
    "batched": Variant(batched.build, SAME_PREDICTIONS),
    "optimised": Variant(optimised.build, SAME_PREDICTIONS, best=True),
    "low_precision": Variant(low_precision.build, agreement(0.999), unsupported=low_precision.missing),
    "compiled": Variant(compiled.build, SAME_PREDICTIONS, unsupported=compiled.missing),
    "gpu": Variant(gpu.build, agreement(0.999), device="cuda", unsupported=gpu.missing),
}
