"""The vision transformer with all its matrix products in int8: bytes for activations, signed bytes for weights.

Why it is faster than bfloat16: a VNNI instruction multiplies 64 pairs of bytes where a bfloat16 one multiplies 32. And
weights are half the size: a single image is limited by reading them. `kernel.forward` computes the whole network.
Weights have a quantisation step per column. Activations have a step and a zero point per token, computed at run time.
So no images are needed to calibrate, and an answer does not depend on the other images of its batch.

Without VNNI, activations and weights have seven bits (`septets`): AVX2 multiplies these more than twice as fast as
floats.

What it costs: logits are off by some 1 %, with seven bits by twice that, which `precision` checks. Importing Numba
takes half a second of the start.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from . import kernel
from .cores import Team
from .pieces import counters_of
from .products import FEW, LANES, PANEL, ROWS, STEP
from .tiles import CONFIG, DEPTH, PAIR, granted
from .vit import Plan, Weights

__all__ = ["Int8Vit", "quantised"]

CHUNK, CHUNK_OF_TILES = 2, 4
"""Images that a core takes at a time. 64 images took 1.33 s in chunks of 1 or 2, 1.38 of 4, 1.39 of 8 and 1.43 of 16
(AMD EPYC (Zen 5), 2 cores, 2026-11-23): the kernel prefetches the weights, and the activations of two images stay in
the cache. With tiles, which need weights faster, 16 images took 265 ms in chunks of 2, 245 of 3, 233 of 4, 244 of 6 and
240 of 8 (Intel Xeon with AMX, 2 cores, 2026-11-27)."""
PADDING = 32
"""Unused numbers at the end of each row of results, with tiles. Rows 16 KiB apart would compete for the same cache
lines."""

Array = NDArray[Any]

PRODUCTS = ("qkv", "out", "up", "down")
NORMS = ("norm1", "norm2")


def quantised(plan: Plan, parts: Sequence[Weights], bits: int = 8) -> dict[str, Array]:
    """Return the parts of `vit.split_vit` in the layout that `Int8Vit` takes, to be stored and mapped into memory.

    Matrices become panels of bytes, as `kernel.forward` takes them, with the scales and totals of their columns; those
    of all layers are stacked. The head stays float32: it is small, and decides the prediction. `bits`, 8 or 7, are
    those of weights and activations.

    Raises:
        TypeError: The kernel does not support the widths of this transformer.
    """
    first, *blocks, last = parts
    positions = first["positions"].clone()
    positions[0] += first["class_token"]
    tokens, hidden = positions.shape
    widths = [hidden, *(len(blocks[0][f"{name}.weight"]) for name in PRODUCTS)]
    if any(width % PANEL for width in widths) or hidden // plan.heads % LANES or tokens < FEW:
        raise TypeError(
            f"int8 wants layers of a multiple of {PANEL}, heads of a multiple of {LANES} and "
            f"{FEW} tokens or more; these are {sorted(set(widths))}, {hidden // plan.heads} and {tokens}"
        )
    arrays = {"positions": positions.numpy(), **{name: value.numpy() for name, value in last.items()}}
    more = -plan.classes % LANES
    arrays["head.weight"] = np.ascontiguousarray(np.pad(arrays["head.weight"], ((0, more), (0, 0))).T)
    arrays["head.bias"] = np.pad(arrays["head.bias"], (0, more))
    for name, layers in (("embed", [first]), *((name, blocks) for name in PRODUCTS)):
        columns = [_columns(layer[f"{name}.weight"], layer[f"{name}.bias"], bits) for layer in layers]
        arrays.update({f"{name}.{kind}": np.stack([layer[kind] for layer in columns]) for kind in columns[0]})
    for name in NORMS:
        for kind in ("weight", "bias"):
            arrays[f"{name}.{kind}"] = np.stack([block[f"{name}.{kind}"].numpy() for block in blocks])
    return arrays


def _columns(weight: torch.Tensor, bias: torch.Tensor, bits: int) -> dict[str, Array]:
    """Quantise one matrix, float32 [columns, inner]."""
    scales = weight.abs().amax(dim=1).clamp_min(1e-12) / (2 ** (bits - 1) - 1)
    codes = torch.round(weight / scales[:, None]).to(torch.int8)
    totals = codes.sum(dim=1, dtype=torch.int32) * scales
    codes = torch.nn.functional.pad(codes, (0, -codes.shape[1] % STEP))
    panels = codes.view(len(codes) // PANEL, PANEL, -1, 4).transpose(1, 2)
    return {
        "panels": panels.reshape(len(panels), -1).numpy(),
        "scales": scales.numpy(),
        "totals": totals.numpy(),
        "bias": bias.numpy(),
    }


class Buffers:
    """The memory that a forward pass of up to `count` images writes to."""

    def __init__(self, count: int, sizes: tuple[int, ...], *, tiles: bool, bits: int) -> None:
        """Allocate. The number of rows is rounded up, because a product writes whole blocks of rows."""
        self.count, (tokens, window, hidden, wide, classes) = count, sizes
        block, more = (PAIR, PADDING) if tiles else (ROWS, 0)
        rows, last = (-(-number // block) * block for number in (count * tokens, count))
        self.windows = np.zeros((rows, window), np.float32)
        self.logits = np.zeros((last, classes), np.float32)
        self.arrays = (
            self.windows,
            *(
                np.zeros((width // DEPTH, rows, DEPTH) if tiles else (rows, width), np.uint8 if bits == 8 else np.int8)
                for width in (window, hidden, wide)
            ),
            np.zeros(rows, np.float32),
            np.zeros(rows, np.float32),
            *(np.zeros((rows, width + more), np.float32) for width in (hidden, 3 * hidden, hidden, wide)),
            np.zeros((last, hidden + more), np.float32),
            self.logits,
        )


class Int8Vit:
    """A vision transformer in int8: `logits(images)`.

    Attributes:
        plan: What is known of the model.
        tiles: Whether AMX multiplies; otherwise vector instructions do.
        chunk: The images that it is fastest with, when each core has images of its own.
    """

    def __init__(self, plan: Plan, arrays: Mapping[str, Array], *, bits: int = 8, tiles: bool = True) -> None:
        """Use the arrays of `quantised` without copying them; they may be mapped from a file.

        AMX multiplies eight bits where the processor has it and the widths are multiples of a tile's, unless `tiles` is
        false.

        Args:
            plan: What is known of the model.
            arrays: As `quantised` returns them for the same `bits`.
            bits: 8, or 7 for `septets`.
            tiles: Whether AMX may multiply.
        """
        self.plan = plan
        kept = {name: value.view(np.ndarray) for name, value in arrays.items()}
        for value in kept.values():
            value.flags.writeable = False  # one type of array, whether mapped or not, so that one kernel is compiled
        self.positions = kept["positions"]
        self.products = tuple(
            tuple(kept[f"{name}.{kind}"] for kind in ("panels", "scales", "totals", "bias"))
            for name in ("embed", *PRODUCTS)
        )
        self.norms = tuple((kept[f"{name}.weight"], kept[f"{name}.bias"]) for name in NORMS)
        self.head = tuple(kept[name] for name in ("norm.weight", "norm.bias", "head.weight", "head.bias"))
        tokens, hidden = self.positions.shape
        window = kept["embed.panels"].shape[2] // PANEL
        self._sizes = tokens, window, hidden, kept["up.bias"].shape[1], len(kept["head.bias"])
        self.bits = bits
        self.tiles = (
            tiles and bits == 8 and all(width % DEPTH == 0 for width in (window, hidden, self._sizes[3])) and granted()
        )
        self.chunk = CHUNK_OF_TILES if self.tiles else CHUNK
        self._free: list[Buffers] = []
        std = np.asarray(plan.std)
        self._scaling = {
            torch.uint8: ((1 / (255 * std)).astype(np.float32), (-np.asarray(plan.mean) / std).astype(np.float32)),
            torch.float32: (np.ones(len(std), np.float32), np.zeros(len(std), np.float32)),
        }

    def logits(self, images: torch.Tensor, team: Team) -> torch.Tensor:
        """Return float32 [N, classes] of uint8 or float32 [N, 3, side, side]."""
        count, (tokens, _, hidden, *_) = len(images), self._sizes
        buffers = self._buffers(count)
        kernel.cut(images.contiguous().numpy(), *self._scaling[images.dtype], self.plan.patch, buffers.windows)
        padded = -(-tokens // LANES) * LANES
        counters = counters_of(kernel.STEPS + kernel.LAYER_STEPS * len(self.norms[0][0]), team.size)

        def work(member: int) -> None:
            scratch = (
                np.zeros((hidden // self.plan.heads, padded), np.float32),
                np.zeros((tokens, padded), np.float32),
                (np.zeros(CONFIG, np.uint8), np.zeros((2, PAIR, PANEL), np.int32)),
            )
            weights = self.plan.heads, self.positions, self.products, self.norms, self.head
            kernel.forward(member, counters, count, *weights, buffers.arrays, scratch)

        team(work, wait=False)
        logits = torch.from_numpy(buffers.logits[:count, : self.plan.classes].copy())
        self._free.append(buffers)
        return logits

    def _buffers(self, count: int) -> Buffers:
        """Return unused buffers for `count` images."""
        try:
            buffers = self._free.pop()
        except IndexError:
            buffers = Buffers(max(count, self.chunk), self._sizes, tiles=self.tiles, bits=self.bits)
        return buffers if buffers.count >= count else Buffers(count, self._sizes, tiles=self.tiles, bits=self.bits)
