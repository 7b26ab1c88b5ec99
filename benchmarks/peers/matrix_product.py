"""The machine's own matrix product in float32 and int8: what a network's throughput is compared with."""

from collections.abc import Callable
from functools import cache, partial

import torch

from .ways import fastest, seconds

__all__ = ["FLOPS", "fastest_way", "flops_per_second"]

ROWS, INNER, COLUMNS = 3200, 1024, 4096
FLOPS = 2 * ROWS * INNER * COLUMNS


@cache
def fastest_way(precision: str) -> Callable[[], object]:
    """Return the fastest of torch's ways to multiply two matrices in "float32" or "int8"."""
    return fastest(_float32() if precision == "float32" else _int8())[1]


@cache
def flops_per_second(precision: str) -> float:
    """Return the throughput of the fastest way: the best of five."""
    way = fastest_way(precision)
    return FLOPS / min(seconds(way) for _ in range(5))


def _float32() -> dict[str, Callable[[], object]]:
    left, right = torch.randn(ROWS, INNER), torch.randn(INNER, COLUMNS)
    ways: dict[str, Callable[[], object]] = {"mm": partial(torch.mm, left, right)}
    if torch.backends.mkldnn.is_available():
        packed = [tensor.to_mkldnn() for tensor in (left, right.T.contiguous(), torch.zeros(COLUMNS))]
        ways["oneDNN"] = partial(torch.nn.functional.linear, *packed)
    return ways


def _int8() -> dict[str, Callable[[], object]]:
    left = torch.randint(0, 256, (ROWS, INNER), dtype=torch.uint8)
    right = torch.randint(-127, 128, (COLUMNS, INNER), dtype=torch.int8)
    weights = torch.ops.onednn.qlinear_prepack(right, [ROWS, INNER])
    scales = torch.ones(COLUMNS), torch.zeros(COLUMNS, dtype=torch.int32)
    call = (left, 1.0, 0, weights, *scales, None, 1.0, 0, torch.float32, "none", [], "")
    return {"oneDNN": partial(torch.ops.onednn.qlinear_pointwise, *call)}
