"""A model that can be run, and the snapshot that it starts from: weights in one precision, laid out and kept on disk.

The first start writes the snapshot, beside the seeded weights. A later start maps a few hundred megabytes into memory,
and needs neither torchvision nor the original weights. Every file has a digest, which is checked before it is used: a
damaged snapshot is made anew, with a warning in the log, and never served (see `impl.shared.sealed`).
"""

import io
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import nn

from ...shared.cache import cache_folder, write_whole
from ...shared.sealed import Content, DamagedError, read_seal, write_seal
from ..config import ServingConfig
from .cores import Engine
from .vit import CHUNK, FloatVit, Plan, Vit, normaliser, plan_of, split_vit
from .weights import Source, build, check_labels

__all__ = ["Prepared", "Runner", "identity_of", "load_or_make", "place_of", "snapshots_of"]

log = logging.getLogger(__name__)

LAYOUT = 4
"""Version of the snapshots' layout; a new number makes them anew."""
SEAL = "seal.json"
"""The snapshot's seal, written last: a folder without it is not complete."""

BITS = {"int8": 8, "int7": 7}
"""Of the precisions that `int8.Int8Vit` computes in."""

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


def place_of(config: ServingConfig, precision: str) -> str:
    """Return the name of a precision on the configuration's device."""
    return precision if config.device == "cpu" else f"{precision}-{config.device}"


def identity_of(kind: str, config: ServingConfig, source: Source, precision: str) -> dict[str, str]:
    """Return what is sealed with whatever is kept for a model in a precision: a file of another one does not pass."""
    return {"kind": kind, "model": config.model, "weights": source.key, "precision": precision}


def load_or_make(config: ServingConfig, source: Source, precision: str, agreement: float | None = None) -> Prepared:
    """Return the model in a precision, from its snapshot; the snapshot is written if it is missing or damaged.

    Raises:
        TypeError: This model cannot run in this precision.
        ValueError: The weights are not those of the model, or the labels do not fit them.
    """
    folder, identity = snapshots_of(config, source) / precision, identity_of("snapshot", config, source, precision)
    device = torch.device(config.device)
    try:
        plan, run = _open(folder, identity, device)
    except (FileNotFoundError, DamagedError) as error:
        if isinstance(error, DamagedError):
            log.warning("the snapshot in %s is damaged, and is made anew: %s", precision, error)
        model, _ = build(config)
        if type(model).__name__ != "VisionTransformer":
            if precision in BITS:
                raise TypeError(f"{precision} is for vision transformers, and {config.model} is none: use another one")  # noqa: B904 - a missing snapshot is not its cause
            return _without_snapshot(model, config, source, precision, agreement)
        _write(folder, model, source, identity)
        plan, run = _open(folder, identity, device)
    check_labels(source, plan.classes, config.model)
    labels = source.labels or tuple(map(str, range(plan.classes)))
    return Prepared(run, precision, plan.side, labels, f"{source.key}-{place_of(config, precision)}", agreement)


def _open(folder: Path, identity: Mapping[str, str], device: torch.device) -> tuple[Plan, Runner]:
    """Check a snapshot, and map it into memory, or copy it to a GPU.

    Raises:
        FileNotFoundError: There is none.
        DamagedError: It is damaged, or another model's.
    """
    seal, precision = read_seal(folder / SEAL, identity), identity["precision"]
    said = seal.facts["plan"]
    plan = Plan(**{**said, "mean": tuple(said["mean"]), "std": tuple(said["std"])})
    if precision in BITS:
        with ThreadPoolExecutor(1) as pool:
            checked = pool.submit(seal.contents)
            from . import int8  # noqa: PLC0415 - Numba takes half a second, which only this precision needs, and in which the files are checked

            contents = checked.result()
        arrays = {Path(name).stem: _array(content) for name, content in contents.items()}
        model = int8.Int8Vit(plan, arrays, bits=BITS[precision])
        return plan, Engine(model.logits, model.chunk)
    seal.contents()
    from safetensors.torch import load_file  # noqa: PLC0415 - int8 does not need it

    parts = (load_file(folder / name) for name in sorted(seal.files))
    dtype = getattr(torch, precision)
    if device.type == "cpu":
        of_this_torch = FloatVit if torch.backends.mkldnn.is_available() else Vit  # type: ignore[no-untyped-call]
        return plan, Engine(of_this_torch(plan, parts, dtype).logits, CHUNK)
    from .gpu import GpuVit  # noqa: PLC0415 - most machines have no GPU

    return plan, GpuVit(plan, parts, dtype, device)


def _array(content: Content) -> np.ndarray[Any, Any]:
    """Return the array of a .npy file, mapped or not, without copying it."""
    head = io.BytesIO(content[:1000])
    np.lib.format.read_magic(head)
    shape, _, dtype = np.lib.format.read_array_header_1_0(head)
    return np.frombuffer(content, dtype, offset=head.tell()).reshape(shape)


def _write(folder: Path, model: nn.Module, source: Source, identity: Mapping[str, str]) -> None:
    """Write the snapshot of a model, and its seal last."""
    plan, parts = plan_of(model, source.mean, source.std), split_vit(model)
    names = []
    if bits := BITS.get(identity["precision"]):
        from .int8 import quantised  # noqa: PLC0415 - see above

        for name, array in quantised(plan, parts, bits).items():
            names.append(f"{name}.npy")
            write_whole(folder / names[-1], partial(np.save, arr=np.ascontiguousarray(array)))
    else:
        from safetensors.torch import save  # noqa: PLC0415 - see above

        dtype = getattr(torch, identity["precision"])
        for place, part in enumerate(parts):
            names.append(f"{place:03}.safetensors")
            data = save({name: value.to(dtype).contiguous() for name, value in part.items()})
            write_whole(folder / names[-1], partial(_write_bytes, data))
    write_seal(folder / SEAL, {**identity, "plan": asdict(plan)}, names)


def _write_bytes(data: bytes, file: BinaryIO) -> None:
    file.write(data)


def _without_snapshot(
    model: nn.Module, config: ServingConfig, source: Source, precision: str, agreement: float | None
) -> Prepared:
    """Return any other classifier of torchvision as it is, in a precision and in convolutions' memory layout."""
    dtype, device = getattr(torch, precision), torch.device(config.device)
    model = model.to(device, dtype).to(memory_format=torch.channels_last)
    head = list(model.state_dict().values())[-1]
    normalise = normaliser(source.mean, source.std, device)

    def run(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            pixels = normalise(images.to(device))
            logits: torch.Tensor = model(pixels.to(dtype, memory_format=torch.channels_last))
            return logits.float().cpu()

    labels = source.labels or tuple(map(str, range(len(head))))
    key = f"{source.key}-{place_of(config, precision)}"
    return Prepared(run, precision, getattr(model, "image_size", 224), labels, key, agreement)
