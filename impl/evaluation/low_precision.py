"""Both convolutions in int8, and float32 for the images that are a close call.

Faster than `optimised` because one instruction multiplies 64 pairs of bytes and adds them up, so the second convolution
takes by its definition 3.8 microseconds an image and not 6.9, and the first 0.5 for 1.5. The linear layer, 1 % of the
work, stays float32. `plans.byte_plan` says how weights become bytes without images to calibrate on.

It costs exactness: a logit is off by up to 0.15 where logits reach 52, which changed 2 of 10,000 predictions, both of
images whose two greatest logits are closer than 0.4 % of the spread of all ten. So images under `MARGIN` are done again
in float32: some 0.2 % of them. That makes every prediction on the digits agree, though nothing promises it.

It needs AVX512-VNNI. ONEDNN_MAX_CPU_ISA, by which oneDNN is kept from instructions, is heeded here as well.

Measured (AMD EPYC (Zen 5), 2 cores, Python 3.11, torch 2.15, 2026-11-23): 22.7 ms for 5,000 images on one core, where
`optimised` takes 47.7 in the same run.

What was tried, 10,000 images on the same machine and day:

- bfloat16 through torch and oneDNN, folded, channels_last: 163 ms, 4 predictions changed; in the default layout 751.
- Scales from the batch normalisation's mean and 3, 4, 5 or 6 standard deviations instead of the bound: 13, 5, 2 and 3
  predictions changed, because what is above is cut off.
- The close calls of each chunk done within the chunk: its scratch memory is new each time, and getting it
  takes longer than using it.
- The loop over the inputs written out whole: 6.3 microseconds an image on one core for 4.5; see `kernel.UNROLLED`.
"""

import os
from typing import Any

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
    import llvmlite.binding as llvm  # noqa: PLC0415 - Numba takes half a second, which the others need not wait for
    import numba  # noqa: PLC0415 - likewise

    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    if limit in LIMITS_WITHOUT:
        return f"int8 needs AVX512-VNNI, and ONEDNN_MAX_CPU_ISA={limit} rules it out"
    if not llvm.get_host_cpu_features().get("avx512vnni", False):
        return "int8 needs AVX512-VNNI, which this processor does not have"
    config: Any = numba.config
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
    from .kernel import predict_float, predict_int8  # noqa: PLC0415 - likewise
    from .plans import byte_plan, float_plan  # noqa: PLC0415 - likewise

    folded = fold(model)
    float32 = float_plan(folded)
    exact, plan = tuple(float32), tuple(byte_plan(folded, float32))

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
