"""The machine's matrix product with weights that are laid out once: the limit of a transformer's forward pass."""

from collections.abc import Callable
from functools import partial

import torch

__all__ = ["FLOPS", "packed_product"]

ROWS, INNER, COLUMNS = 1600, 1024, 4096  # the MLP of ViT-L/32 for 32 images
FLOPS = 2 * ROWS * INNER * COLUMNS


def packed_product(precision: str) -> Callable[[], object]:
    """Return oneDNN's matrix product in "int8" (also for "int7"), "bfloat16" or "float32"; a call takes `FLOPS`."""
    if precision in ("int8", "int7"):
        left = torch.randint(0, 256, (ROWS, INNER), dtype=torch.uint8)
        right = torch.randint(-127, 128, (COLUMNS, INNER), dtype=torch.int8)
        weights = torch.ops.onednn.qlinear_prepack(right, [ROWS, INNER])
        scales = torch.ones(COLUMNS), torch.zeros(COLUMNS, dtype=torch.int32)
        int8 = (left, 1.0, 0, weights, *scales, None, 1.0, 0, torch.bfloat16, "none", [], "")
        return partial(torch.ops.onednn.qlinear_pointwise, *int8)
    dtype = getattr(torch, precision)
    left, right = torch.randn(ROWS, INNER).to(dtype), torch.randn(COLUMNS, INNER).to(dtype)
    weights = torch.ops.mkldnn._reorder_linear_weight(right, ROWS)  # noqa: SLF001 - torch's own compiler uses it
    return partial(torch.ops.mkldnn._linear_pointwise, left, weights, None, "none", [], "")  # noqa: SLF001 - likewise
