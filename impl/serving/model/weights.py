"""The weights of torchvision's classifiers: from a checkpoint, torchvision's own, or seeded.

Seeded weights (see `seeded`) are made once and kept on disk, so that all variants predict the same. What is kept, or
was downloaded, is checked before it is read, and made anew if it is damaged.
"""

import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ...shared.cache import cache_folder, write_whole
from ...shared.sealed import DamagedError, read_seal, write_seal
from ..config import CIFAR10, ServingConfig
from .classifiers import builder
from .seeded import SEEDED, seeded_weights

__all__ = ["Source", "WrongWeightsError", "build", "check_labels", "load", "rebuild", "source_of", "state_of"]

log = logging.getLogger(__name__)

# torchvision ends the names of its files with the first digits of their SHA-256.
HASHED_NAME = re.compile(r"-([0-9a-f]{8,})\.[a-z]+$")


class WrongWeightsError(ValueError):
    """A file holds weights, but those of another model or of another shape."""


@dataclass(frozen=True)
class Source:
    """Where weights come from.

    Attributes:
        key: Identifies the weights, without reading them.
        path: The file with the state dict.
        labels: The name of each class; empty if unknown.
        mean, std: Normalisation of images after scaling to 0 .. 1, one number per channel.
    """

    key: str
    path: Path
    labels: tuple[str, ...]
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)


def source_of(config: ServingConfig, *, checked: bool = False) -> Source:
    """Return the weights that a configuration asks for; seeded ones are made if they are missing.

    Args:
        config: The configuration.
        checked: Whether to compare files that were kept with their digest, and to replace them if they are damaged.
            Whoever reads them asks for it, once: it reads the whole file, 0.2 s for ViT-L/32.

    Raises:
        ValueError: torchvision has no such model or weights, or the labels cannot be read.
    """
    labels = _labels(config.labels) if config.labels else ()
    if config.checkpoint:
        status = config.checkpoint.stat()
        return Source(
            _key(config.model, config.checkpoint.resolve(), status.st_size, status.st_mtime_ns),
            config.checkpoint,
            labels,
        )
    if config.weights:
        return _torchvision_weights(config, labels, checked=checked)
    return Source(_key(config.model, SEEDED), _seeded_file(config.model, checked=checked), labels or CIFAR10)


def _labels(path: Path) -> tuple[str, ...]:
    try:
        labels = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"labels: {path} cannot be read as text in UTF-8: {error}") from error
    if not labels:
        raise ValueError(f"labels: {path} has no line with a name")
    return labels


def _key(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]


def _seeded_file(model: str, *, checked: bool = False, anew: bool = False) -> Path:
    """Return the file with a model's seeded weights; it is made if it is missing, damaged or not wanted."""
    path = cache_folder() / "serving" / f"{model}-{SEEDED}.safetensors"
    seal, facts = path.with_suffix(".seal.json"), {"model": model, "weights": SEEDED}
    try:
        if anew or not path.exists():
            raise FileNotFoundError  # noqa: TRY301 - as if there were no seal
        if checked or not seal.exists():
            read_seal(seal, facts).contents()
    except (FileNotFoundError, DamagedError) as error:
        if isinstance(error, DamagedError):
            log.warning("the seeded weights are damaged, and are made anew: %s", error)
        state = seeded_weights(model)
        from safetensors.torch import save  # noqa: PLC0415 - only this needs it

        write_whole(path, lambda file: file.write(save(state)))
        write_seal(seal, facts, [path.name])
    return path


def _torchvision_weights(config: ServingConfig, labels: tuple[str, ...], *, checked: bool) -> Source:
    from torchvision.models import get_model_weights  # noqa: PLC0415 - takes a second, and a start from a snapshot does not need it

    builder(config.model)
    choices = get_model_weights(config.model)
    if config.weights not in choices.__members__:
        raise ValueError(
            f"{config.model} has no weights {config.weights!r:.200}, but {', '.join(choices.__members__) or 'none'}"
        )
    weights = choices[config.weights]
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if checked and path.exists() and not _as_named(path):
        log.warning("%s is damaged, and is downloaded again: its SHA-256 is not the one in its name", path)
        path.unlink()
    if not path.exists():
        weights.get_state_dict(check_hash=True)  # downloads
    transforms = weights.transforms()
    return Source(
        _key(config.model, weights.url),
        path,
        labels or tuple(weights.meta["categories"]),
        tuple(transforms.mean),
        tuple(transforms.std),
    )


def _as_named(path: Path) -> bool:
    """Return whether a file of torchvision's has the digest that its name ends with."""
    named = HASHED_NAME.search(path.name)
    with path.open("rb") as file:
        return named is None or hashlib.file_digest(file, "sha256").hexdigest().startswith(named[1])


def state_of(source: Source) -> dict[str, torch.Tensor]:
    """Return the state dict, mapped into memory.

    Raises:
        ValueError: The file is damaged or holds no state dict.
    """
    from safetensors.torch import load_file  # noqa: PLC0415 - a start from a snapshot does not need it

    try:
        if source.path.suffix == ".safetensors":
            return load_file(source.path)
        state = torch.load(source.path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # the two libraries raise many types of exceptions for damaged files
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{source.path} cannot be read as weights: {first}") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"{source.path} holds no state dict, which is a dict of names to tensors")
    return dict(state)


def load(name: str, state: Mapping[str, torch.Tensor], source: Source) -> nn.Module:
    """Build a model on the meta device, which allocates nothing, and assign the tensors of `state` to it.

    Raises:
        ValueError: The tensors are not those of this model.
    """
    with torch.device("meta"):
        model: nn.Module = builder(name)(num_classes=_classes(name, state, source))
    _fill(model, name, state, source, assign=True)
    return model.eval().requires_grad_(requires_grad=False)


def rebuild(name: str, source: Source) -> nn.Module:
    """Build a model the slow way: initialise random weights, then copy those of `source` over them.

    Raises:
        ValueError: As `load`.
    """
    state = state_of(source)
    model: nn.Module = builder(name)(num_classes=_classes(name, state, source))
    _fill(model, name, state, source, assign=False)
    return model.eval()


def build(config: ServingConfig) -> tuple[nn.Module, Source]:
    """Return the model of a configuration in float32, its weights mapped into memory, and their source.

    Their file was checked, and the labels fit them: `rebuild` can read it again.

    Raises:
        ValueError: The name, the weights or the labels cannot be used; the message says why.
    """
    builder(config.model)
    source = source_of(config, checked=True)
    try:
        return load(config.model, state_of(source), source), source
    except WrongWeightsError as error:
        if config.checkpoint or config.weights:
            raise
        log.warning("the seeded weights are not those of this model, and are made anew: %s", error)
        _seeded_file(config.model, anew=True)
    return load(config.model, state_of(source), source), source


def check_labels(source: Source, classes: int, name: str) -> None:
    """Check the number of labels, if there are any.

    Raises:
        ValueError: It is not the number of classes.
    """
    if source.labels and len(source.labels) != classes:
        raise ValueError(f"there are {len(source.labels)} labels, and {name} has {classes} classes in {source.path}")


def _fill(model: nn.Module, name: str, state: Mapping[str, torch.Tensor], source: Source, *, assign: bool) -> None:
    try:
        model.load_state_dict(state, assign=assign)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise WrongWeightsError(
            f"{source.path} does not hold the weights of {name}: {' '.join(lines[1:3] or lines)[:400]}"
        ) from error


def _classes(name: str, state: Mapping[str, torch.Tensor], source: Source) -> int:
    """Return the number of classes of the weights: the last entry of torchvision's classifiers is their head."""
    with torch.device("meta"):
        last = list(builder(name)().state_dict())[-1]
    if last not in state or not state[last].shape:
        raise WrongWeightsError(f"{source.path} does not hold the weights of {name}: {last} is not there")
    classes = len(state[last])
    check_labels(source, classes, name)
    return classes
