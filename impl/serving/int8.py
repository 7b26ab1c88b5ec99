"""The vision transformer with all its matrix products in int8: bytes for activations, signed bytes for weights.

Why it is faster than bfloat16: a VNNI instruction multiplies 64 pairs of bytes where a bfloat16 one multiplies 32, and
weights are half the size, which is what a single image waits for. oneDNN does the products and `kernels` the rest,
each a single pass. Weights have a step for each column, activations a step and a zero point for each token, found when
it is there: no images are needed to calibrate, and an answer does not depend on the other images of its batch.

What it costs: logits are off by some 1 %, which `precision` checks, and Numba, which takes half a second of the start.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import layer_norm, linear

from . import kernels
from .vit import CHUNK, EPSILON, Plan, Weights, attention, normalise, patches

__all__ = ["Int8Vit", "quantise_part"]

Array = NDArray[Any]


def quantise_part(part: Weights) -> dict[str, torch.Tensor]:
    """Return a part of `vit.split_vit` with its large matrices as int8 [columns, n], and steps and sums of the columns.

    The head stays as it is: it is small, and the last word.
    """
    found = {}
    for name, value in part.items():
        if value.ndim == 2 and name.endswith(".weight") and name != "head.weight":
            steps = value.abs().amax(dim=1).clamp_min(1e-12) / 127
            found[name] = torch.round(value / steps[:, None]).to(torch.int8)
            found[name.replace(".weight", ".steps")] = steps
            found[name.replace(".weight", ".sums")] = found[name].sum(dim=1, dtype=torch.int32) * steps
        else:
            found[name] = value.contiguous()
    return found


class Linear:
    """A matrix product in int8, but for the last step, which the kernel that comes next makes."""

    def __init__(self, part: Weights, name: str, rows: int) -> None:
        weight, steps = part[f"{name}.weight"], part[f"{name}.steps"]
        self.columns = len(weight)
        self.sums: Array = part[f"{name}.sums"].clone().numpy()
        self.bias: Array = part[f"{name}.bias"].clone().numpy()
        self.steps = steps.clone()
        self.zeros = torch.zeros(len(weight), dtype=torch.int32)
        self.packed = torch.ops.onednn.qlinear_prepack(weight, [rows, weight.shape[1]])

    def __call__(self, codes: Array) -> Array:
        product: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            torch.from_numpy(codes),
            1.0,
            0,
            self.packed,
            self.steps,
            self.zeros,
            None,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )
        return product.numpy()


class Norm:
    """The gain and the bias of a LayerNorm."""

    def __init__(self, part: Weights, name: str) -> None:
        self.gain: Array = part[f"{name}.weight"].clone().numpy()
        self.bias: Array = part[f"{name}.bias"].clone().numpy()


class Codes:
    """Quantised rows: uint8 [rows, n], and the step and the zero point of each, float32 [rows]."""

    def __init__(self, rows: int, width: int) -> None:
        self.codes = np.empty((rows, width), np.uint8)
        self.steps = np.empty(rows, np.float32)
        self.zeros = np.empty(rows, np.float32)


class Block:
    """The weights of one block."""

    def __init__(self, part: Weights, rows: int) -> None:
        self.qkv, self.out, self.up, self.down = (Linear(part, name, rows) for name in ("qkv", "out", "up", "down"))
        self.norm1, self.norm2 = Norm(part, "norm1"), Norm(part, "norm2")


class Int8Vit:
    """A vision transformer in int8: `logits(images)`."""

    def __init__(self, plan: Plan, parts: Iterable[Weights]) -> None:
        """Lay out the weights.

        Args:
            plan: Its shape.
            parts: What `quantise_part` makes of the weights, one after the other; a part is not kept.
        """
        self.plan = plan
        self.tokens = (plan.side // plan.patch) ** 2 + 1
        first, *blocks, last = parts
        self.embed = Linear(first, "embed", CHUNK * (self.tokens - 1))
        positions = first["positions"].clone()
        positions[0] += first["class_token"]
        self.positions: Array = positions.numpy()
        self.blocks = [Block(part, CHUNK * self.tokens) for part in blocks]
        self.last = {name: value.clone() for name, value in last.items()}

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return float32 [N, classes] of uint8 or float32 [N, 3, side, side]."""
        stream, fed = self._embedded(images)
        norm = self.blocks[0].norm1
        kernels.norm_quantise(stream, norm.gain, norm.bias, fed.codes, fed.steps, fed.zeros)
        following = [block.norm1 for block in self.blocks[1:]]
        for block, norm in zip(self.blocks, following, strict=False):
            found = self._attended(block, fed, len(images))
            product = self._mixed(block, stream, found.reshape(stream.shape), fed)
            kernels.residual_norm_quantise(
                stream, product, block.down.sums, block.down.bias, norm.gain, norm.bias, fed.codes, fed.steps, fed.zeros
            )
        # Of the last block only the class token is asked for.
        block = self.blocks[-1]
        found = self._attended(block, fed, len(images))[:, 0].copy()
        stream, fed = stream[:: self.tokens].copy(), Codes(len(images), stream.shape[1])
        product = self._mixed(block, stream, found, fed)
        kernels.dequantise(product, block.down.sums, block.down.bias, fed.steps, fed.zeros)
        token = torch.from_numpy(stream + product)
        normed = layer_norm(token, token.shape[1:], self.last["norm.weight"], self.last["norm.bias"], EPSILON)
        return linear(normed, self.last["head.weight"], self.last["head.bias"])

    def _embedded(self, images: torch.Tensor) -> tuple[Array, Codes]:
        """Return the stream, float32 [N * tokens, hidden], and room for its quantised rows."""
        windows = patches(normalise(images, self.plan.mean, self.plan.std), self.plan.patch).numpy()
        fed = Codes(*windows.shape)
        kernels.quantise(windows, fed.codes, fed.steps, fed.zeros)
        embedded = self.embed(fed.codes)
        kernels.dequantise(embedded, self.embed.sums, self.embed.bias, fed.steps, fed.zeros)
        hidden = embedded.shape[1]
        stream = np.empty((len(images), self.tokens, hidden), np.float32)
        stream[:, 0] = self.positions[0]
        np.add(embedded.reshape(len(images), -1, hidden), self.positions[1:], out=stream[:, 1:])
        return stream.reshape(-1, hidden), Codes(len(images) * self.tokens, hidden)

    def _attended(self, block: Block, fed: Codes, count: int) -> Array:
        """Return float32 [N, tokens, hidden]: what the tokens of each image say to each other."""
        mixed = block.qkv(fed.codes)
        kernels.dequantise(mixed, block.qkv.sums, block.qkv.bias, fed.steps, fed.zeros)
        return attention(torch.from_numpy(mixed).view(count, self.tokens, 3, self.plan.heads, -1)).numpy()

    @staticmethod
    def _mixed(block: Block, stream: Array, attended: Array, fed: Codes) -> Array:
        """Add the attention to the stream, and return the product of the perceptron; `fed` has its steps and zeros."""
        kernels.quantise(attended, fed.codes, fed.steps, fed.zeros)
        product, norm = block.out(fed.codes), block.norm2
        kernels.residual_norm_quantise(
            stream, product, block.out.sums, block.out.bias, norm.gain, norm.bias, fed.codes, fed.steps, fed.zeros
        )
        wide = block.up(fed.codes)
        codes = np.empty(wide.shape, np.uint8)
        kernels.gelu_quantise(wide, block.up.sums, block.up.bias, codes, fed.steps, fed.zeros)
        return block.down(codes)
