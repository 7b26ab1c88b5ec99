"""The vision transformer quantised to int8 by torchao and compiled by torch's inductor, as their documentation says."""

import warnings
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import pytest
import torch

from .served_model import FloatModel, calibration
from .ways import Ways

__all__ = ["ways"]

SIZES = 1, 8
"""Images of a call. It compiles for each size, which takes 45 s."""


@cache
def _compiled(size: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function of `size` images to logits.

    The activations' steps are fixed. With steps chosen at each call, 8 images took 0.33 s instead of 0.29 (Intel Xeon
    with AMX, 2 cores, torchao 0.18, torch 2.15, 2026-11-27).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses what torch has deprecated
        pytest.importorskip("torchao")
        from torch._inductor import config as inductor  # noqa: PLC0415 - takes seconds
        from torchao.quantization.pt2e import quantize_pt2e  # noqa: PLC0415 - an optional peer
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86  # noqa: PLC0415 - likewise

        model = FloatModel()
        pictures = calibration(model.side)
        quantizer = x86.X86InductorQuantizer()
        quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
        with torch.no_grad(), inductor.patch(freezing=True):
            prepared = quantize_pt2e.prepare_pt2e(torch.export.export(model, (pictures[:size],)).module(), quantizer)
            for batch in torch.split(pictures, size):
                prepared(batch)
            function = torch.compile(quantize_pt2e.convert_pt2e(prepared))
            function(pictures[:size])
    return function


def ways(images: torch.Tensor) -> Ways:
    """Return ways to compute the logits, float32 [N, classes], of images, uint8 [N, 3, side, side]."""

    def predict(size: int) -> np.ndarray:
        with torch.no_grad():
            return torch.cat([_compiled(size)(batch) for batch in torch.split(images, size)]).numpy()

    return {f"batches of {size}": partial(predict, size) for size in SIZES if len(images) % size == 0}
