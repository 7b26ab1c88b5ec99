"""The vision transformer with all its matrix products in int8: bytes for activations, signed bytes for weights.

Why it is faster than bfloat16: a VNNI instruction multiplies 64 pairs of bytes where a bfloat16 one multiplies 32, and
weights are half the size, which is what a single image waits for. `kernels` has the whole of it as one function.
Weights have a step for each column, activations a step and a zero point for each token, found when it is there: no
images are needed to calibrate, and an answer does not depend on the other images of its batch.

What it costs: logits are off by some 1 %, which `precision` checks, and Numba, which takes half a second of the start.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from . import kernel as kernels
from .cores import Team
from .vit import Plan, Weights

__all__ = ["CHUNK", "Int8Vit", "quantised"]

CHUNK = 2
"""Images a core takes at a time. 64 images took 1.33 s by 1 and by 2, 1.38 by 4, 1.39 by 8 and 1.43 by 16: the kernel
fetches the weights early enough, and what two images make of a layer stays in the cache (AMD EPYC (Zen 5), 2 cores,
2026-11-23)."""

Array = NDArray[Any]

PRODUCTS = ("qkv", "out", "up", "down")
NORMS = ("norm1", "norm2")


def quantised(plan: Plan, parts: Sequence[Weights]) -> dict[str, Array]:
    """Return the parts of `vit.split_vit` as arrays that are used as they are.

    Matrices become bytes in panels, as `kernels.forward` takes them, with scales and totals of their columns, and those
    of one kind lie together, a layer after the other. The head stays float32: it is small, and the last word.

    Raises:
        TypeError: The widths of this transformer are not what the kernel can do.
    """
    first, *blocks, last = parts
    positions = first["positions"].clone()
    positions[0] += first["class_token"]
    tokens, hidden = positions.shape
    widths = [hidden, *(len(blocks[0][f"{name}.weight"]) for name in PRODUCTS)]
    if any(width % kernels.PANEL for width in widths) or hidden // plan.heads % kernels.LANES or tokens < kernels.FEW:
        raise TypeError(
            f"int8 wants layers of a multiple of {kernels.PANEL}, heads of a multiple of {kernels.LANES} and "
            f"{kernels.FEW} tokens or more; these are {sorted(set(widths))}, {hidden // plan.heads} and {tokens}"
        )
    found = {"positions": positions.numpy(), **{name: value.numpy() for name, value in last.items()}}
    more = -plan.classes % kernels.LANES
    found["head.weight"] = np.ascontiguousarray(np.pad(found["head.weight"], ((0, more), (0, 0))).T)
    found["head.bias"] = np.pad(found["head.bias"], (0, more))
    for name, layers in (("embed", [first]), *((name, blocks) for name in PRODUCTS)):
        columns = [_columns(layer[f"{name}.weight"], layer[f"{name}.bias"]) for layer in layers]
        found.update({f"{name}.{kind}": np.stack([layer[kind] for layer in columns]) for kind in columns[0]})
    for name in NORMS:
        for kind in ("weight", "bias"):
            found[f"{name}.{kind}"] = np.stack([block[f"{name}.{kind}"].numpy() for block in blocks])
    return found


def _columns(weight: torch.Tensor, bias: torch.Tensor) -> dict[str, Array]:
    """Quantise one matrix, float32 [columns, inner]."""
    scales = weight.abs().amax(dim=1).clamp_min(1e-12) / 127
    codes = torch.round(weight / scales[:, None]).to(torch.int8)
    totals = codes.sum(dim=1, dtype=torch.int32) * scales
    codes = torch.nn.functional.pad(codes, (0, -codes.shape[1] % kernels.STEP))
    panels = codes.view(len(codes) // kernels.PANEL, kernels.PANEL, -1, 4).transpose(1, 2)
    return {
        "panels": panels.reshape(len(panels), -1).numpy(),
        "scales": scales.numpy(),
        "totals": totals.numpy(),
        "bias": bias.numpy(),
    }


class Room:
    """What a forward pass of so many images writes to."""

    def __init__(self, count: int, sizes: tuple[int, ...]) -> None:
        """Allocate; a product writes whole blocks of rows."""
        self.count, (tokens, window, hidden, wide, classes) = count, sizes
        rows, last = (-(-number // kernels.ROWS) * kernels.ROWS for number in (count * tokens, count))
        self.windows = np.zeros((rows, window), np.float32)
        self.logits = np.zeros((last, classes), np.float32)
        self.all = (
            self.windows,
            np.zeros((rows, window), np.uint8),
            np.zeros((rows, hidden), np.uint8),
            np.zeros((rows, wide), np.uint8),
            np.zeros(rows, np.float32),
            np.zeros(rows, np.float32),
            np.zeros((rows, hidden), np.float32),
            np.zeros((rows, 3 * hidden), np.float32),
            np.zeros((rows, hidden), np.float32),
            np.zeros((rows, wide), np.float32),
            np.zeros((last, hidden), np.float32),
            self.logits,
        )


@contextmanager
def nobody_waits(counter: Array) -> Iterator[None]:
    """When a member of a team fails, have the others meet without it: what they compute is thrown away."""
    try:
        yield
    except BaseException:
        counter[0] += kernels.FAR
        raise


class Int8Vit:
    """A vision transformer in int8: `logits(images)`."""

    def __init__(self, plan: Plan, arrays: Mapping[str, Array]) -> None:
        """Take over the arrays of `quantised`, which may lie in a file."""
        self.plan = plan
        kept = {name: value.view(np.ndarray) for name, value in arrays.items()}
        for value in kept.values():
            value.flags.writeable = False  # one kind of arrays, so that one kernel is compiled
        self.positions = kept["positions"]
        self.products = tuple(
            tuple(kept[f"{name}.{kind}"] for kind in ("panels", "scales", "totals", "bias"))
            for name in ("embed", *PRODUCTS)
        )
        self.norms = tuple((kept[f"{name}.weight"], kept[f"{name}.bias"]) for name in NORMS)
        self.head = tuple(kept[name] for name in ("norm.weight", "norm.bias", "head.weight", "head.bias"))
        tokens, hidden = self.positions.shape
        window = kept["embed.panels"].shape[2] // kernels.PANEL
        self._sizes = tokens, window, hidden, kept["up.bias"].shape[1], len(kept["head.bias"])
        self._rooms: list[Room] = []
        std = np.asarray(plan.std)
        self._scaling = {
            torch.uint8: ((1 / (255 * std)).astype(np.float32), (-np.asarray(plan.mean) / std).astype(np.float32)),
            torch.float32: (np.ones(len(std), np.float32), np.zeros(len(std), np.float32)),
        }

    def logits(self, images: torch.Tensor, team: Team) -> torch.Tensor:
        """Return float32 [N, classes] of uint8 or float32 [N, 3, side, side]."""
        count, (tokens, _, hidden, *_) = len(images), self._sizes
        room = self._room(count)
        kernels.cut(images.contiguous().numpy(), *self._scaling[images.dtype], self.plan.patch, room.windows)
        counter, padded = np.zeros(1, np.int64), -(-tokens // kernels.LANES) * kernels.LANES

        def work(member: int) -> None:
            scratch = (
                np.zeros((hidden // self.plan.heads, padded), np.float32),
                np.zeros((tokens, padded), np.float32),
            )
            weights = self.plan.heads, self.positions, self.products, self.norms, self.head
            with nobody_waits(counter):
                kernels.forward(member, team.size, counter, count, *weights, room.all, scratch)

        with nobody_waits(counter):
            team(work)
        logits = torch.from_numpy(room.logits[:count, : self.plan.classes].copy())
        self._rooms.append(room)
        return logits

    def _room(self, count: int) -> Room:
        """Return room for so many images, which nobody uses."""
        try:
            room = self._rooms.pop()
        except IndexError:
            room = Room(max(count, CHUNK), self._sizes)
        return room if room.count >= count else Room(count, self._sizes)
