"""torchvision's vision transformer as a list of weights and one function, in bfloat16 or float32; `FloatVit` by oneDNN.

Why it is faster than the module: the weights are laid out for oneDNN once and not in each call. GELU and the residual
sums are fused into the matrix products. Only the class token passes through the second half of the last block (3 % of
all work). And each core runs chunks of images of its own, so that no core waits for another. A matrix
product of ViT-L/32 then reaches 857 GFLOP/s in bfloat16 and 339 in float32, where `torch.nn.functional.linear` has 729
and 166 (AMD EPYC (Zen 5), 2 cores, torch 2.15, 2026-11-23).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import gelu, layer_norm, linear, scaled_dot_product_attention

from .cores import Team, use_cores

__all__ = ["CHUNK", "FloatVit", "Plan", "Vit", "Weights", "normaliser", "patches", "plan_of", "split_vit"]

CHUNK = 8
"""Images that a core takes at a time: the activations of 8 images stay in the cache, and the weights are read once for
all of them. 64 images in int8 took 1.69 s in chunks of 16, 1.53 of 8, 1.49 of 6, 1.52 of 4 and 1.62 of 2, before the
allocator kept freed memory (AMD EPYC (Zen 5), 2 cores, beside other programs, 2026-11-23)."""

CPU = torch.device("cpu")
EPSILON = 1e-6  # of torchvision's LayerNorms

Weights = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Plan:
    """The shape of a vision transformer, and how its images are normalised."""

    side: int
    patch: int
    heads: int
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def plan_of(model: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> Plan:
    """Return the shape of torchvision's module.

    Raises:
        TypeError: `model` is not one of torchvision's plain vision transformers.
    """
    if type(model).__name__ != "VisionTransformer" or not isinstance(model.conv_proj, torch.nn.Conv2d):
        raise TypeError(f"{type(model).__name__} is not one of torchvision's vision transformers")
    if len(model.heads) != 1:
        raise TypeError("a vision transformer with a representation layer is not supported")
    block = model.encoder.layers[0]
    return Plan(model.image_size, model.patch_size, block.num_heads, model.heads.head.out_features, mean, std)


def split_vit(model: Any) -> list[dict[str, torch.Tensor]]:
    """Return the weights, float32: those before the blocks, those of each block, and those after them."""
    hidden = model.hidden_dim
    first = {
        "embed.weight": model.conv_proj.weight.reshape(hidden, -1),
        "embed.bias": model.conv_proj.bias,
        "class_token": model.class_token.reshape(hidden),
        "positions": model.encoder.pos_embedding[0],
    }
    blocks = [
        {
            "norm1.weight": block.ln_1.weight,
            "norm1.bias": block.ln_1.bias,
            "qkv.weight": block.self_attention.in_proj_weight,
            "qkv.bias": block.self_attention.in_proj_bias,
            "out.weight": block.self_attention.out_proj.weight,
            "out.bias": block.self_attention.out_proj.bias,
            "norm2.weight": block.ln_2.weight,
            "norm2.bias": block.ln_2.bias,
            "up.weight": block.mlp[0].weight,
            "up.bias": block.mlp[0].bias,
            "down.weight": block.mlp[3].weight,
            "down.bias": block.mlp[3].bias,
        }
        for block in model.encoder.layers
    ]
    last = {
        "norm.weight": model.encoder.ln.weight,
        "norm.bias": model.encoder.ln.bias,
        "head.weight": model.heads.head.weight,
        "head.bias": model.heads.head.bias,
    }
    return [{name: value.detach() for name, value in part.items()} for part in (first, *blocks, last)]


def normaliser(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function from images on the device to float32 [N, 3, H, W] there.

    uint8 is scaled to 0 .. 1 and normalised, float32 is taken as it is.
    """
    means, stds = (torch.tensor(values, device=device).view(3, 1, 1) for values in (mean, std))
    scaled_only = not any(mean) and set(std) == {1.0}

    def normalise(images: torch.Tensor) -> torch.Tensor:
        if images.dtype != torch.uint8:
            return images
        pixels = images.float().div_(255)
        return pixels if scaled_only else pixels.sub_(means).div_(stds)

    return normalise


def patches(pixels: torch.Tensor, patch: int) -> torch.Tensor:
    """Return [N * patches, 3 * patch * patch] of [N, 3, side, side]: a convolution's windows that do not overlap."""
    count, channels, side, _ = pixels.shape
    across = side // patch
    windows = pixels.view(count, channels, across, patch, across, patch).permute(0, 2, 4, 1, 3, 5)
    return windows.reshape(count * across * across, channels * patch * patch)


class Vit:
    """A vision transformer in bfloat16 or float32, by torch's own functions. Subclasses multiply otherwise."""

    def __init__(self, plan: Plan, parts: Iterable[Weights], dtype: torch.dtype, device: torch.device = CPU) -> None:
        """Lay out the weights.

        Args:
            plan: Its shape.
            parts: Weights as `split_vit` returns them; they are copied.
            dtype: torch.bfloat16 or torch.float32.
            device: Where the weights and the images are.
        """
        self.plan, self.dtype, self.device = plan, dtype, device
        self._normalise = normaliser(plan.mean, plan.std, device)
        self.first, *self.blocks, self.last = [self._laid_out(part) for part in parts]

    def logits(self, images: torch.Tensor, team: Team) -> torch.Tensor:
        """Return float32 [N, classes] of uint8 or float32 [N, 3, side, side]; the team's cores are torch's to use."""
        use_cores(team.size)
        return self.forward(images)

    def _laid_out(self, part: Weights) -> dict[str, torch.Tensor]:
        """Return copies of some weights, as `_linear` and the rest take them."""
        return {name: value.to(self.device, self.dtype, copy=True) for name, value in part.items()}

    def _linear(self, values: torch.Tensor, part: Weights, name: str) -> torch.Tensor:
        """Return values, [N, inputs], times a matrix, plus its bias."""
        return linear(values, part[f"{name}.weight"], part[f"{name}.bias"])

    def _linear_gelu(self, values: torch.Tensor, part: Weights, name: str) -> torch.Tensor:
        """Return GELU of `_linear`."""
        return gelu(self._linear(values, part, name))

    def _linear_add(self, values: torch.Tensor, stream: torch.Tensor, part: Weights, name: str) -> torch.Tensor:
        """Return `_linear` plus the stream, which may be overwritten."""
        return self._linear(values, part, name).add_(stream)

    def _tokens(self) -> int:
        return (self.plan.side // self.plan.patch) ** 2 + 1

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return float32 [N, classes] of uint8 or float32 [N, 3, side, side], all on the device."""
        plan = self.plan
        windows = patches(self._normalise(images), plan.patch).to(self.dtype)
        embedded = self._linear(windows, self.first, "embed").view(len(images), self._tokens() - 1, -1)
        hidden = embedded.shape[2]
        stream = torch.empty(len(images), self._tokens(), hidden, dtype=self.dtype, device=self.device)
        stream[:, 0] = self.first["class_token"] + self.first["positions"][0]
        torch.add(embedded, self.first["positions"][1:], out=stream[:, 1:])
        stream = stream.view(-1, hidden)
        for place, block in enumerate(self.blocks):
            mixed = self._linear(_norm(stream, block, "norm1"), block, "qkv")
            attended = attention(mixed.view(len(images), self._tokens(), 3, plan.heads, -1))
            if place == len(self.blocks) - 1:
                attended, stream = attended[:, 0], stream.view(len(images), self._tokens(), hidden)[:, 0].contiguous()
            stream = self._linear_add(attended.reshape(-1, hidden), stream, block, "out")
            wide = self._linear_gelu(_norm(stream, block, "norm2"), block, "up")
            stream = self._linear_add(wide, stream, block, "down")
        return linear(_norm(stream, self.last, "norm"), self.last["head.weight"], self.last["head.bias"]).float()


class FloatVit(Vit):
    """A vision transformer on the processor, by oneDNN."""

    def _laid_out(self, part: Weights) -> dict[str, torch.Tensor]:
        return {
            name: torch.ops.mkldnn._reorder_linear_weight(value.to(self.dtype), CHUNK * self._tokens())  # noqa: SLF001 - torch's own compiler lays weights out with it
            if name.endswith((".weight",)) and value.ndim == 2 and name != "head.weight"
            else value.to(self.dtype).clone()
            for name, value in part.items()
        }

    def _linear(self, values: torch.Tensor, part: Weights, name: str) -> torch.Tensor:
        return _product(values, part, name, "none")

    def _linear_gelu(self, values: torch.Tensor, part: Weights, name: str) -> torch.Tensor:
        return _product(values, part, name, "gelu")

    def _linear_add(self, values: torch.Tensor, stream: torch.Tensor, part: Weights, name: str) -> torch.Tensor:
        weight, bias = part[f"{name}.weight"], part[f"{name}.bias"]
        result: torch.Tensor = torch.ops.mkldnn._linear_pointwise.binary(values, stream, weight, bias, "add")  # noqa: SLF001 - see above
        return result


def attention(mixed: torch.Tensor) -> torch.Tensor:
    """Return [N, tokens, hidden] of queries, keys and values, [N, tokens, 3, heads, hidden / heads]."""
    queries, keys, values = mixed.permute(2, 0, 3, 1, 4)
    return scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2)


def _norm(stream: torch.Tensor, part: Weights, name: str) -> torch.Tensor:
    return layer_norm(stream, stream.shape[-1:], part[f"{name}.weight"], part[f"{name}.bias"], EPSILON)


def _product(values: torch.Tensor, part: Weights, name: str, then: str) -> torch.Tensor:
    weight, bias = part[f"{name}.weight"], part[f"{name}.bias"]
    result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(values, weight, bias, then, [], "none")  # noqa: SLF001 - see above
    return result
