"""torchvision's classifiers and their weights: from a checkpoint, torchvision's own, or seeded.

The seeded weights are random except for the last layer, which is fitted to the means of ten classes of drawn pictures.
So the model distinguishes these with margins, as a trained one would. They are made once and kept on disk, so that all
variants predict the same.
"""

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...shared.cache import cache_folder, write_whole
from ..config import CIFAR10, ServingConfig
from .pictures import draw_pictures

__all__ = ["Source", "build", "load", "rebuild", "source_of", "state_of"]

SEED = 7
# The name changes when the seeded weights do.
SEEDED = "seeded-7-1"
FITTED = 60  # pictures that the last layer is fitted to
MARGIN = 8.0  # between the logits of two classes, on average


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


def source_of(config: ServingConfig) -> Source:
    """Return the weights that a configuration asks for; seeded ones are made if they are missing.

    Raises:
        ValueError: torchvision has no such model or weights.
    """
    labels: tuple[str, ...] = ()
    if config.labels:
        labels = tuple(line.strip() for line in config.labels.read_text(encoding="utf-8").splitlines() if line.strip())
    if config.checkpoint:
        status = config.checkpoint.stat()
        return Source(
            _key(config.model, config.checkpoint.resolve(), status.st_size, status.st_mtime_ns),
            config.checkpoint,
            labels,
        )
    if config.weights:
        return _torchvision_weights(config, labels)
    path = cache_folder() / "serving" / f"{config.model}-{SEEDED}.safetensors"
    if not path.exists():
        state = _seeded(config.model)
        from safetensors.torch import save  # noqa: PLC0415 - only this needs it

        write_whole(path, lambda file: file.write(save(state)))
    return Source(_key(config.model, SEEDED), path, labels or CIFAR10)


def _key(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]


def _torchvision_weights(config: ServingConfig, labels: tuple[str, ...]) -> Source:
    from torchvision.models import get_model_weights  # noqa: PLC0415 - takes a second, and a start from a snapshot does not need it

    builder(config.model)
    choices = get_model_weights(config.model)
    if config.weights not in choices.__members__:
        raise ValueError(f"{config.model} has no weights {config.weights!r}, but {', '.join(choices.__members__)}")
    weights = choices[config.weights]
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
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


def state_of(source: Source) -> dict[str, torch.Tensor]:
    """Return the state dict, mapped into memory.

    Raises:
        ValueError: The file is damaged or holds no state dict.
    """
    from safetensors import SafetensorError  # noqa: PLC0415 - a start from a snapshot needs neither this nor the next
    from safetensors.torch import load_file  # noqa: PLC0415

    try:
        if source.path.suffix == ".safetensors":
            return load_file(source.path)
        state = torch.load(source.path, map_location="cpu", weights_only=True, mmap=True)
    except (SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError, OSError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{source.path} cannot be read as weights: {first}") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"{source.path} holds no state dict, which is a dict of names to tensors")
    return dict(state)


def builder(name: str) -> Any:
    """Return the torchvision function that builds a model.

    Raises:
        ValueError: There is no such classifier.
    """
    import torchvision  # noqa: PLC0415 - takes a second, and a start from a snapshot does not need it

    models = torchvision.models
    classifiers = [*models.list_models(module=models), *_registered()]
    if name not in classifiers:
        raise ValueError(f"torchvision has no classifier {name!r}; it has, among others, {', '.join(classifiers[-8:])}")
    return models.get_model_builder(name)


def _registered() -> list[str]:
    """Return the models that others have registered with torchvision."""
    import torchvision  # noqa: PLC0415 - see above

    models = torchvision.models
    return [n for n in models.list_models() if not models.get_model_builder(n).__module__.startswith("torchvision.")]


def load(name: str, state: Mapping[str, torch.Tensor], source: Source) -> nn.Module:
    """Build a model on the meta device, which allocates nothing, and assign the tensors of `state` to it.

    Raises:
        ValueError: The tensors are not those of this model.
    """
    with torch.device("meta"):
        model: nn.Module = builder(name)(num_classes=_classes(name, state, source))
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise ValueError(f"{source.path} does not hold the weights of {name}: {' '.join(lines[1:3])[:400]}") from error
    return model.eval().requires_grad_(requires_grad=False)


def rebuild(name: str, source: Source) -> nn.Module:
    """Build a model the slow way: initialise random weights, then copy those of `source` over them.

    Raises:
        ValueError: As `load`.
    """
    state = state_of(source)
    model: nn.Module = builder(name)(num_classes=_classes(name, state, source))
    model.load_state_dict(state)
    return model.eval()


def build(config: ServingConfig) -> tuple[nn.Module, Source]:
    """Return the model of a configuration in float32, its weights mapped into memory, and their source."""
    builder(config.model)
    source = source_of(config)
    return load(config.model, state_of(source), source), source


def _classes(name: str, state: Mapping[str, torch.Tensor], source: Source) -> int:
    """Return the number of classes of the weights: the last entry of torchvision's classifiers is their head."""
    with torch.device("meta"):
        last = list(builder(name)().state_dict())[-1]
    if last not in state:
        raise ValueError(f"{source.path} does not hold the weights of {name}: {last} is not there")
    classes = len(state[last])
    if source.labels and len(source.labels) != classes:
        raise ValueError(f"there are {len(source.labels)} labels, and {name} has {classes} classes in {source.path}")
    return classes


def _seeded(name: str) -> dict[str, torch.Tensor]:
    """Make the seeded weights; the state of the global generator is restored."""
    make = builder(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = make(num_classes=len(CIFAR10)).eval()
    _fit_head(model)
    return {key: value.detach().contiguous() for key, value in model.state_dict().items()}


def _fit_head(model: nn.Module) -> None:
    """Set the last linear layer to a nearest-mean classifier of the drawn pictures, on its own inputs."""
    head = [module for module in model.modules() if isinstance(module, nn.Linear)][-1:]
    if not head or head[0].out_features != len(CIFAR10):
        return  # the last layer is a convolution; it keeps its random weights
    inputs: list[torch.Tensor] = []
    pictures, kinds = draw_pictures(FITTED, SEED)
    pixels = torch.nn.functional.interpolate(
        torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255, size=getattr(model, "image_size", 224), mode="bilinear"
    )
    with torch.inference_mode(), _recorded_inputs(head[0], inputs):
        for part in torch.split(pixels, 20):
            model(part)
    features = torch.cat(inputs).double()
    means = torch.stack([features[kinds == kind].mean(dim=0) for kind in range(len(CIFAR10))])
    centre = means.mean(dim=0)
    directions = means - centre
    directions *= MARGIN / (directions.square().sum(dim=1).mean() + 1e-12)
    with torch.no_grad():
        head[0].weight.copy_(directions)
        if head[0].bias is not None:
            head[0].bias.copy_(-(directions @ centre) - 0.5 * (directions * (means - centre)).sum(dim=1))


def _recorded_inputs(head: nn.Module, inputs: list[torch.Tensor]) -> Any:
    return head.register_forward_pre_hook(lambda _module, arguments: inputs.append(arguments[0].clone()))
