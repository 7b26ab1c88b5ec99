"""What a server is told, and the checks of it."""

import ipaddress
from dataclasses import dataclass, fields
from pathlib import Path

__all__ = ["CIFAR10", "PRECISIONS", "ServingConfig", "is_loopback"]

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PRECISIONS = ("auto", "int8", "bfloat16", "float32")


@dataclass(frozen=True)
class ServingConfig:
    """One server. The three originals use `model`, `checkpoint`, `weights` and `labels` only.

    Attributes:
        model: The name of a classifier in torchvision.models.
        checkpoint: A state dict: .safetensors, or a file by torch.save, read with weights_only.
        weights: The name of torchvision's own weights, such as IMAGENET1K_V1. Without either, seeded random weights
            with ten classes are made once and kept.
        labels: A text file with one class name a line.
        precision: "auto" takes the fastest that the processor has and that agrees with float32; others are forced.
        cache_mb: How much memory remembered answers may take, in MiB; 0 remembers none.
        max_batch: The most images in one forward pass, and so in one request.
        max_wait_ms: How long a request may wait for others to share its forward pass, when others have been around.
        max_queue: How many images may wait; more are answered 429.
        max_body_mb: The longest request body, in MiB.
        max_pixels: The most pixels of one picture.
        timeout_ms: How long a request may take from its arrival; after that it is answered 504. A request can ask for
            less with `?timeout_ms=`.
    """

    model: str = "vit_l_32"
    checkpoint: Path | None = None
    weights: str | None = None
    labels: Path | None = None
    precision: str = "auto"
    cache_mb: float = 0.0
    max_batch: int = 64
    max_wait_ms: float = 5.0
    max_queue: int = 128
    max_body_mb: float = 64.0
    max_pixels: int = 50_000_000
    timeout_ms: float = 60_000.0

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ValueError: An attribute is out of its range; the message names it.
        """
        if self.checkpoint and self.weights:
            raise ValueError("checkpoint and weights both say where the weights come from: give one of them")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}")
        least = {
            "cache_mb": 0,
            "max_batch": 1,
            "max_wait_ms": 0,
            "max_body_mb": 0.001,
            "max_pixels": 1,
            "timeout_ms": 1,
        }
        for name, bound in least.items():
            if not getattr(self, name) >= bound:
                raise ValueError(f"{name} must be at least {bound}, not {getattr(self, name)}")
        if self.max_queue < self.max_batch:
            raise ValueError(
                f"max_queue ({self.max_queue} images) must be at least max_batch ({self.max_batch}), "
                "or the largest request could never wait"
            )
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("checkpoint", "labels") and value is not None and not Path(value).is_file():
                raise ValueError(f"{field.name}: there is no file {value}")


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach a server that is bound to `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
