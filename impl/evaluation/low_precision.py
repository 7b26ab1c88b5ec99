"""Both convolutions in int8, or in int16 without VNNI, and float32 for images with a narrow decision.

Faster than `optimised` because one instruction multiplies 64 pairs of bytes and adds the products. So the second
convolution takes 3.8 microseconds per image instead of 6.9, and the first 0.5 instead of 1.5. The linear layer, 1 % of
the work, stays float32. `plans.byte_plan` explains how the weights are quantised without calibration images.

It costs exactness. A logit is off by up to 0.15 where logits reach 52. That changed 2 of 10,000 predictions, both for
images whose two largest logits are closer than 0.4 % of the range of all ten. So images below `MARGIN`, some 0.2 % of
them, are computed again in float32. With that, every prediction on the digit set agrees; the promise is 99.9 %.

It needs AVX512-VNNI, AVX2, or an ARM with i8mm, for which it is compiled in a test and not yet measured. AVX2's product
of bytes saturates, and is no faster for the direct convolution than floats are for Winograd's; so there Winograd's is
computed in 16 bits (`kernel_int16`). ML_PERFORMANCE_SUITE_LEVEL chooses between the levels (`shared.processor`).

Measured (AMD EPYC (Zen 5), 2 cores, Python 3.11, torch 2.15, 2026-11-23): 22.7 ms for 5,000 images on one core, where
`optimised` takes 47.7 ms in the same run.

What was tried, with 10,000 images on the same machine and day:

- bfloat16 through torch and oneDNN, folded: 163 ms in channels_last, 751 ms in the default layout; 4 predictions
  changed.
- Scales from the batch normalisation's mean and 3, 4, 5 or 6 standard deviations instead of the upper bound: 13, 5, 2
  and 3 predictions changed, because larger activations are clipped.
- Recomputing the narrow decisions of each chunk within the chunk: its scratch memory is allocated each time, which
  takes longer than the computation.
- In 16 bits, on one core held to AVX2 (Intel Xeon, 2026-11-28), the direct first convolution took 10.9 microseconds per
  image when all pixels of a window were loaded first, which spills registers, and 3.6 when each is used at once. The
  second one takes 12.5 to 13.2 where floats take 19.7. A processor that starts three vector instructions per cycle, and
  two of them multiply, cannot gain more.
- The loop over the inputs fully unrolled: 6.3 microseconds per image on one core instead of 4.5; see `kernel.UNROLLED`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ..shared.processor import features
from .contract import Evaluation, Evaluator, Images, Labels, checked, only_cpu, score
from .folding import Folded, fold
from .sharing import share

if TYPE_CHECKING:
    from .kernel import FloatPlan

__all__ = ["MARGIN", "build", "missing"]

WITH_BYTES = frozenset({"avx512vnni", "i8mm"})
"""Instruction sets that multiply bytes and add the products in one instruction that does not saturate."""
MARGIN = 0.01
"""Gap between the two largest logits, as a share of the range of all ten, below which float32 decides.

An int8 logit is off by at most 0.3 % of that range on 10,000 digits, so the difference of two by 0.6 %.
"""


def missing() -> str | None:
    """Return why this machine cannot run the variant, or None."""
    if features().isdisjoint({*WITH_BYTES, "avx2"}):
        return "integers are faster than floats only with AVX512-VNNI, AVX2 or i8mm, which this processor does not have"
    return None


def build(model: nn.Module, device: str | torch.device = "cpu") -> Evaluator:
    """Return an evaluator of the model's present weights; it ignores later changes of them.

    The processor must have one of the instruction sets of `missing`.

    Raises:
        TypeError: The model is not the network of `model.build`.
        ValueError: A weight has the wrong shape or dtype, or is not finite; or `device` is not the CPU.
    """
    only_cpu(device)
    from .kernel import predict_float  # noqa: PLC0415 - importing Numba takes 0.5 s, which other variants need not wait for
    from .plans import float_plan  # noqa: PLC0415 - likewise

    folded = fold(model)
    float32 = float_plan(folded)
    exact = tuple(float32)
    predict, plan = _integers(folded, float32)

    def evaluate(images: Images, labels: Labels) -> Evaluation:
        images, labels = checked(images, labels)
        pixels = images.view(len(images), -1).numpy()
        predictions = np.empty(len(pixels), np.int64)
        gaps = np.empty(len(pixels), np.float32)

        with torch.profiler.record_function("predict_integers"):
            share(lambda part: predict(plan, pixels[part], predictions[part], gaps[part]), len(pixels))
        narrow = np.flatnonzero(gaps < MARGIN)
        with torch.profiler.record_function("predict_float"):
            narrow_pixels = pixels[narrow]
            narrow_predictions = np.empty(len(narrow), np.int64)
            share(lambda part: predict_float(exact, narrow_pixels[part], narrow_predictions[part]), len(narrow))
        predictions[narrow] = narrow_predictions
        return score(torch.from_numpy(predictions), labels)

    return evaluate


def _integers(folded: Folded, float32: "FloatPlan") -> tuple[Callable[..., None], tuple[Any, ...]]:
    """Return the kernel for this processor's integers, and its plan."""
    from . import plans  # noqa: PLC0415 - see `build`

    if features() & WITH_BYTES:
        from .kernel import predict_int8  # noqa: PLC0415 - likewise

        return predict_int8, tuple(plans.byte_plan(folded, float32))
    from .kernel_int16 import predict_int16  # noqa: PLC0415 - likewise

    return predict_int16, tuple(plans.word_plan(folded, float32))
