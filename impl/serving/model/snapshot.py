"""A model that can be run, and the snapshot that it starts from: weights in one precision, laid out and kept on disk.

The first start writes the snapshot, beside the seeded weights. A later start maps a few hundred megabytes into memory,
and needs neither torchvision nor the original weights.
"""

import json
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
from .vit import CHUNK, FloatVit, Plan, normalise, plan_of, split_vit
from .weights import Source, build

__all__ = ["Prepared", "Runner", "load_or_make", "snapshots_of"]

LAYOUT = 3
"""Version of the snapshots' layout; a new number makes them anew."""

Runner = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Prepared:
    """A model that can be run.

    Attributes:
        run: Returns logits, float32 [N, classes], of uint8 or float32 [N, 3, side, side]. For one thread.
        precision: What it computes in.
        side: Height and width of its images, in pixels.
        labels: The name of each class; numbers if the configuration gives no names.
        key: Identifies these weights in this precision.
        agreement: The share of pictures with float32's top-1, if it was measured.
    """

    run: Runner
    precision: str
    side: int
    labels: tuple[str, ...]
    key: str
    agreement: float | None


def snapshots_of(config: ServingConfig, source: Source) -> Path:
    """Return the folder with the snapshots of a model, one folder per precision."""
    return cache_folder() / "serving" / f"{config.model}-{source.key}-{LAYOUT}"


def load_or_make(config: ServingConfig, source: Source, precision: str, agreement: float | None = None) -> Prepared:
    """Return the model in a precision, from its snapshot; the snapshot is written if it is missing.

    Raises:
        TypeError: This model cannot run in this precision.
        ValueError: The weights are not those of the model, or the labels do not fit them.
    """
    folder = snapshots_of(config, source) / precision
    if not (folder / "plan.json").exists():
        model, _ = build(config)
        if type(model).__name__ != "VisionTransformer":
            if precision == "int8":
                raise TypeError(f"int8 is for vision transformers, and {config.model} is none: use another precision")
            return _without_snapshot(model, source, precision, agreement)
        _write(folder, model, source, precision)
    plan = _plan(folder)
    vit, chunk = _map(folder, plan, precision)
    if source.labels and len(source.labels) != plan.classes:
        raise ValueError(f"there are {len(source.labels)} labels, and {config.model} has {plan.classes} classes")
    labels = source.labels or tuple(map(str, range(plan.classes)))
    return Prepared(Engine(vit.logits, chunk), precision, plan.side, labels, f"{source.key}-{precision}", agreement)


def _map(folder: Path, plan: Plan, precision: str) -> tuple[Any, int]:
    """Map a snapshot into memory; return the model, and how many images one core takes at a time."""
    if precision == "int8":
        from . import int8  # noqa: PLC0415 - Numba takes half a second, which only this precision needs

        arrays = {file.stem: np.load(file, mmap_mode="r") for file in folder.glob("*.npy")}
        return int8.Int8Vit(plan, arrays), int8.CHUNK
    from safetensors.torch import load_file  # noqa: PLC0415 - int8 does not need it

    parts = (load_file(file) for file in sorted(folder.glob("*.safetensors")))
    return FloatVit(plan, parts, getattr(torch, precision)), CHUNK


def _write(folder: Path, model: nn.Module, source: Source, precision: str) -> None:
    """Write the snapshot of a model. Its plan comes last: a folder with a plan is complete."""
    plan, parts = plan_of(model, source.mean, source.std), split_vit(model)
    if precision == "int8":
        from .int8 import quantised  # noqa: PLC0415 - see above

        for name, array in quantised(plan, parts).items():
            write_whole(folder / f"{name}.npy", partial(np.save, arr=array))
    else:
        from safetensors.torch import save  # noqa: PLC0415 - see above

        for place, part in enumerate(parts):
            data = save({name: value.to(getattr(torch, precision)).contiguous() for name, value in part.items()})
            write_whole(folder / f"{place:03}.safetensors", partial(_write_bytes, data))
    write_whole(folder / "plan.json", partial(_write_bytes, json.dumps(asdict(plan)).encode()))


def _write_bytes(data: bytes, file: BinaryIO) -> None:
    file.write(data)


def _plan(folder: Path) -> Plan:
    plan = json.loads((folder / "plan.json").read_bytes())
    return Plan(**{**plan, "mean": tuple(plan["mean"]), "std": tuple(plan["std"])})


def _without_snapshot(model: nn.Module, source: Source, precision: str, agreement: float | None) -> Prepared:
    """Return any other classifier of torchvision as it is, in a precision and in the memory layout oneDNN prefers."""
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
