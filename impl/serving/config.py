"""The configuration of a server.

The checks are plain Python, because importing pydantic would take 0.3 s of a warm start whose budget is 1 s after
torch's import (AMD EPYC (Zen 5), CPython 3.11, 2026-11-25), only to check the few numbers below.
"""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CIFAR10", "DEVICES", "LIMITS", "PRECISIONS", "ServingConfig", "is_loopback"]

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DEVICES = ("cpu", "cuda")
PRECISIONS = ("auto", "int8", "int7", "bfloat16", "float32")
OF_PROCESSORS = ("int8", "int7")  # of the precisions
NAME = re.compile(r"\w{1,100}", re.ASCII)

# The least and the greatest value of each number, and whether it must be whole. A thread waits for each image that may
# be queued or run. Pillow opens no picture of more pixels.
LIMITS: dict[str, tuple[float, float, bool]] = {
    "cache_mb": (0, 1_000_000, False),
    "max_batch": (1, 1_024, True),
    "max_wait_ms": (0, 60_000, False),
    "max_queue": (1, 4_096, True),
    "max_body_mb": (0.001, 10_000, False),
    "max_pixels": (1, 178_956_970, True),
    "timeout_ms": (1, 86_400_000, False),
    "memory_mb": (0, 10_000_000, False),
}


@dataclass(frozen=True)
class ServingConfig:
    """The settings of one server. The three original variants use only `model`, `checkpoint`, `weights` and `labels`.

    Attributes:
        model: The name of a classifier in torchvision.models.
        checkpoint: A state dict: a .safetensors file, or one written by torch.save and loaded with weights_only.
        weights: The name of torchvision's own weights, such as IMAGENET1K_V1. With neither, seeded random weights
            for ten classes are created once and cached on disk.
        labels: A text file with one class name per line.
        device: Where the model runs: "cpu", or "cuda" for a GPU of NVIDIA's.
        precision: "auto" picks the fastest precision that the processor supports and whose predictions agree with
            float32. Any other value is used without this comparison.
        cache_mb: The maximum size of the answer cache, in MiB; 0 turns it off.
        max_batch: The most images per forward pass, and therefore per request.
        max_wait_ms: The longest wait to fill a batch. The server waits only after a batch with several requests.
        max_queue: The most images that may wait; further requests get status 429.
        max_body_mb: The largest request body, in MiB.
        max_pixels: The most pixels that a request's pictures may have together, as they are stored. A progressive JPEG
            counts again for every 10 scans.
        timeout_ms: The deadline of a request, in ms after its arrival; a request that misses it gets status 504. A
            request can ask for a shorter one with `?timeout_ms=`.
        memory_mb: The limit of memory, in MiB; near it requests get status 503. 0 takes the limit of the container, if
            there is one.
    """

    model: str = "vit_l_32"
    checkpoint: Path | None = None
    weights: str | None = None
    labels: Path | None = None
    device: str = "cpu"
    precision: str = "auto"
    cache_mb: float = 0.0
    max_batch: int = 64
    max_wait_ms: float = 5.0
    max_queue: int = 128
    max_body_mb: float = 64.0
    max_pixels: int = 50_000_000
    timeout_ms: float = 60_000.0
    memory_mb: float = 0.0

    def __post_init__(self) -> None:
        """Check every attribute.

        Raises:
            ValueError, TypeError: An attribute is out of range or no number; the message names it.
        """
        self._check_choices()
        for name, (least, most, whole) in LIMITS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                raise TypeError(f"{name} must be a {'whole ' if whole else ''}number, not {value!r:.50}")
            if not least <= value <= most:  # NaN fails too
                raise ValueError(f"{name} must be at least {least} and at most {most:,}, not {value!r:.50}")
        if self.max_queue < self.max_batch:
            raise ValueError(
                f"max_queue ({self.max_queue} images) must be at least max_batch ({self.max_batch}), "
                "or the queue could never hold the largest request"
            )
        if self.max_wait_ms > self.timeout_ms:
            raise ValueError(
                f"max_wait_ms ({self.max_wait_ms}) must be at most timeout_ms ({self.timeout_ms}), "
                "or requests would wait for others until their deadline has passed"
            )

    def _check_choices(self) -> None:
        if self.checkpoint is not None and self.weights is not None:
            raise ValueError("checkpoint and weights are mutually exclusive: give one of them")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r:.50}")
        if self.device not in DEVICES:
            raise ValueError(f"device must be one of {', '.join(DEVICES)}, not {self.device!r:.50}")
        if self.device != "cpu" and self.precision in OF_PROCESSORS:
            raise ValueError(f"precision {self.precision} is for device cpu: on {self.device} use bfloat16 or float32")
        for name in ("model", "weights"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and NAME.fullmatch(value)):
                raise ValueError(f"{name} must be a name in torchvision, of letters, digits and _, not {value!r:.50}")
        for name in ("checkpoint", "labels"):
            value = getattr(self, name)
            try:
                found = value is None or Path(value).is_file()
            except (OSError, TypeError, ValueError) as error:  # no path at all
                raise ValueError(f"{name}: {value!r:.100} cannot be the path of a file") from error
            if not found:
                raise ValueError(f"{name}: there is no file {str(value)!r:.200}")


def is_loopback(host: str) -> bool:
    """Return whether a server bound to `host` is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
