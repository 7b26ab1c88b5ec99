"""Which precision this processor is fast in, and the model prepared for it.

What was prepared is kept beside the seeded weights, so that a later start maps a few hundred megabytes and asks
torchvision for nothing. A precision is used when its answers to 256 drawn pictures are those of float32, nearly all of
them; otherwise the next better one is. That is found out once for each set of weights, and kept as well.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import nn

from ...shared.cache import cache_folder, write_whole
from ..config import ServingConfig
from .cores import Engine
from .pictures import draw_pictures
from .vit import CHUNK, FloatVit, Plan, normalise, plan_of, split_vit
from .weights import Source, build, source_of

__all__ = ["AGREEMENT", "Prepared", "Runner", "available", "drawn", "prepare"]

log = logging.getLogger(__name__)

AGREEMENT = {"int8": 0.97, "bfloat16": 0.99}
"""The least share of pictures with the top-1 of float32."""
CHECKED = 256
LAYOUT = 3  # of what is kept; another number makes it anew

Runner = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Prepared:
    """A model that can be run.

    Attributes:
        run: float32 [N, classes] of uint8 or float32 [N, 3, side, side], by one thread.
        precision: What it computes in.
        side: Of its images.
        labels: A name a class; numbers where nobody gave names.
        key: Tells these weights in this precision from others.
        agreement: The share of pictures with float32's top-1, where that was looked at.
    """

    run: Runner
    precision: str
    side: int
    labels: tuple[str, ...]
    key: str
    agreement: float | None


def available() -> list[str]:
    """Return the precisions this processor has instructions for, the fastest first."""
    has = torch.cpu.get_capabilities()
    found = ["float32"]
    if has.get("avx512_bf16") or has.get("amx_bf16"):
        found.insert(0, "bfloat16")
    if has.get("avx512_vnni") or has.get("amx_int8"):
        found.insert(0, "int8")
    return found


def prepare(config: ServingConfig) -> Prepared:
    """Load the model of a configuration, in the fastest precision that agrees with float32 or in the one it forces.

    Raises:
        ValueError, TypeError, OSError: The model or its weights are not what they should be; the message says what.
    """
    source = source_of(config)
    kept = cache_folder() / "serving" / f"{config.model}-{source.key}-{LAYOUT}"
    if config.precision != "auto":
        return _prepared(config, source, kept, config.precision)
    for precision in available():
        try:
            share = _agreement(config, source, kept, precision)
        except TypeError as error:  # this precision is not for this model
            log.info("not %s: %s", precision, error)
            continue
        if share is None or share >= AGREEMENT[precision]:
            return _prepared(config, source, kept, precision, share)
        log.warning(
            "not %s: it agrees with float32 on %.1f %% of %d pictures; %.0f %% are wanted",
            *(precision, 100 * share, CHECKED, 100 * AGREEMENT[precision]),
        )
    raise AssertionError("float32 agrees with itself")


def drawn(count: int, seed: int, side: int) -> torch.Tensor:
    """Return drawn pictures, enlarged: uint8 [count, 3, side, side]."""
    pictures = torch.from_numpy(draw_pictures(count, seed)[0]).permute(0, 3, 1, 2)
    enlarged = nn.functional.interpolate(pictures.float(), size=side, mode="bilinear")
    return enlarged.round().clamp(0, 255).to(torch.uint8)


def _agreement(config: ServingConfig, source: Source, kept: Path, precision: str) -> float | None:
    """Return on which share of the pictures the top-1 is float32's; None for float32 itself.

    Raises:
        TypeError: The precision is not for this model.
    """
    if precision == "float32":
        return None
    path = kept / f"{precision}-agreement.json"
    if not path.exists():
        found = _prepared(config, source, kept, precision)
        images = drawn(CHECKED, 256, found.side)
        log.info("comparing %s with float32 on %d pictures: once for these weights", precision, CHECKED)
        right = _prepared(config, source, kept, "float32").run(images).argmax(dim=1)
        share = float((found.run(images).argmax(dim=1) == right).double().mean())
        write_whole(path, lambda file: file.write(json.dumps(share).encode()))
    return float(json.loads(path.read_bytes()))


def _prepared(
    config: ServingConfig, source: Source, kept: Path, precision: str, agreement: float | None = None
) -> Prepared:
    folder = kept / precision
    if not (folder / "plan.json").exists():
        model, _ = build(config)
        if type(model).__name__ != "VisionTransformer":
            if precision == "int8":
                raise TypeError(f"int8 is for vision transformers, and {config.model} is none: use another precision")
            return _whole(model, source, precision, agreement)
        _keep(folder, model, source, precision)
    plan = _plan(folder)
    vit, chunk = _vit(folder, plan, precision)
    labels = source.labels or tuple(map(str, range(plan.classes)))
    key = f"{source.key}-{precision}"
    return Prepared(Engine(vit.logits, chunk), precision, plan.side, labels, key, agreement)


def _vit(folder: Path, plan: Plan, precision: str) -> tuple[Any, int]:
    """Return a kept model, mapped into memory, and how many images a core takes at a time."""
    if precision == "int8":
        from . import int8  # noqa: PLC0415 - Numba takes half a second, which the others need not wait for

        arrays = {file.stem: np.load(file, mmap_mode="r") for file in folder.glob("*.npy")}
        return int8.Int8Vit(plan, arrays), int8.CHUNK
    from safetensors.torch import load_file  # noqa: PLC0415 - where nothing is kept it is not needed

    parts = (load_file(file) for file in sorted(folder.glob("*.safetensors")))
    return FloatVit(plan, parts, getattr(torch, precision)), CHUNK


def _keep(folder: Path, model: nn.Module, source: Source, precision: str) -> None:
    """Write the parts of a model in a precision, and its plan last: with it the folder is complete."""
    plan, parts = plan_of(model, source.mean, source.std), split_vit(model)
    if precision == "int8":
        from .int8 import quantised  # noqa: PLC0415 - see above

        for name, array in quantised(plan, parts).items():
            write_whole(folder / f"{name}.npy", partial(np.save, arr=array))
    else:
        from safetensors.torch import save  # noqa: PLC0415 - see above

        for place, part in enumerate(parts):
            data = save({name: value.to(getattr(torch, precision)).contiguous() for name, value in part.items()})
            write_whole(folder / f"{place:03}.safetensors", partial(_write, data))
    write_whole(folder / "plan.json", partial(_write, json.dumps(asdict(plan)).encode()))


def _write(data: bytes, file: BinaryIO) -> None:
    file.write(data)


def _plan(folder: Path) -> Plan:
    plan = json.loads((folder / "plan.json").read_bytes())
    return Plan(**{**plan, "mean": tuple(plan["mean"]), "std": tuple(plan["std"])})


def _whole(model: nn.Module, source: Source, precision: str, agreement: float | None) -> Prepared:
    """Run a model as torchvision wrote it, in a precision and in the layout oneDNN likes."""
    dtype = getattr(torch, precision)
    model = model.to(dtype).to(memory_format=torch.channels_last)
    head = list(model.state_dict().values())[-1]

    def run(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            pixels = normalise(images, source.mean, source.std)
            logits: torch.Tensor = model(pixels.to(dtype, memory_format=torch.channels_last))
            return logits.float()

    labels = source.labels or tuple(map(str, range(len(head))))
    return Prepared(run, precision, getattr(model, "image_size", 224), labels, f"{source.key}-{precision}", agreement)
