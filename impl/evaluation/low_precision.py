"""DOC"""

import os

import numpy as np
import torch
from torch import nn

from .contract import Evaluation, Evaluator, Images, Labels, UnsupportedError, checked, only_cpu, score
from .folding import fold
from .sharing import share

__all__ = ["MARGIN", "build", "missing"]

MARGIN = 0.01
"""Gap between the two greatest logits, as a share of the gap between greatest and least, under which float32 decides.

An int8 logit is off by at most 0.3 % of that share on 10,000 digits, so the difference of two by 0.6 %.
"""

LIMITS_WITHOUT = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE")
"""The values of ONEDNN_MAX_CPU_ISA without AVX512-VNNI."""


def missing() -> str | None:
    """Return why this machine cannot run the variant, or None."""
    import llvmlite.binding as llvm
    from numba import config

    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    if limit in LIMITS_WITHOUT:
        return f"int8 needs AVX512-VNNI, and ONEDNN_MAX_CPU_ISA={limit} rules it out"
    if not llvm.get_host_cpu_features().get("avx512vnni", False):
        return "int8 needs AVX512-VNNI, which this processor does not have"
    if config.CPU_NAME is not None and "+avx512vnni" not in (config.CPU_FEATURES or ""):
        return "int8 needs AVX512-VNNI, and NUMBA_CPU_NAME without +avx512vnni in NUMBA_CPU_FEATURES rules it out"
    return None


def build(model: nn.Module, device: str | torch.device = "cpu") -> Evaluator:
    """Return an evaluator of the model's present weights; later changes of them are not seen.

    Raises:
        UnsupportedError: The processor has no AVX512-VNNI, or ONEDNN_MAX_CPU_ISA rules it out.
        TypeError: The model is not the network of `model.build`.
        ValueError: A weight has another shape or dtype, or is not finite; or `device` is not the CPU.
    """
    only_cpu(device)
    if reason := missing():
        raise UnsupportedError(reason)
    from .kernel import predict_float, predict_int8
    from .plans import byte_plan, float_plan

    folded = fold(model)
    exact = float_plan(folded)
    plan = byte_plan(folded, exact)

    def evaluate(images: Images, labels: Labels) -> Evaluation:
        images, labels = checked(images, labels)
        pixels = images.view(len(images), -1).numpy()
        predictions = np.empty(len(pixels), np.int64)
        gaps = np.empty(len(pixels), np.float32)

        with torch.profiler.record_function("predict_int8"):
            share(lambda part: predict_int8(plan, pixels[part], predictions[part], gaps[part]), len(pixels))
        close = np.flatnonzero(gaps < MARGIN)
        with torch.profiler.record_function("predict_float"):
            again = pixels[close]
            decided = np.empty(len(close), np.int64)
            share(lambda part: predict_float(exact, again[part], decided[part]), len(close))
        predictions[close] = decided
        return score(torch.from_numpy(predictions), labels)

    return evaluate
