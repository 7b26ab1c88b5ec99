"""The vision transformer on a GPU: one CUDA graph for each size of a batch.

Why it should be faster than torchvision's module on the same GPU: a forward pass has some 250 kernels, which the host
launches in a few milliseconds, and a graph launches at once; pictures are copied as bytes from pinned memory; only the
class token passes through the second half of the last block. Attention is torch's own, which on a GPU is one kernel.

It costs a graph for each of the sizes below, which the start captures: a batch is filled up to the next of them.
**Not yet measured**: no GPU was at hand (2026-11-28). Not tried: float8, and fusing the GELU into the product. The
logits are tested on the processor by the same code.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from ...shared.replayed import Replayed, host_buffer
from .vit import Plan, Vit, Weights

__all__ = ["SIZES", "GpuVit"]

SIZES = 1, 2, 4, 8, 16, 32, 64
"""Images of the graphs; a greater batch is split."""


@dataclass(frozen=True)
class _Batch:
    """The memory of the host for one size of batch, and the work that reads and writes it."""

    images: torch.Tensor
    logits: torch.Tensor
    work: Replayed


class GpuVit(Vit):
    """A vision transformer on a GPU, called with images of the host. One thread may use it."""

    def __init__(self, plan: Plan, parts: Iterable[Weights], dtype: torch.dtype, device: torch.device) -> None:
        """Copy the weights to the device, and capture the graphs for pictures, which are uint8."""
        super().__init__(plan, parts, dtype, device)
        self._batches: dict[tuple[int, torch.dtype], _Batch] = {}
        for size in SIZES:
            self._batch(size, torch.uint8)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return float32 [N, classes] of uint8 or float32 [N, 3, side, side], both in the host's memory."""
        return torch.cat([self._run(part) for part in torch.split(images, SIZES[-1])])

    def _run(self, images: torch.Tensor) -> torch.Tensor:
        batch = self._batch(next(size for size in SIZES if size >= len(images)), images.dtype)
        batch.images[: len(images)] = images
        batch.work.start()
        batch.work.wait()
        return batch.logits[: len(images)].clone()

    def _batch(self, size: int, dtype: torch.dtype) -> _Batch:
        """Return the buffers for a size; those for tensors of floats are made when they are first needed."""
        if (size, dtype) not in self._batches:
            shape = size, 3, self.plan.side, self.plan.side
            images = host_buffer(shape, dtype, self.device).zero_()
            logits = host_buffer((size, self.plan.classes), torch.float32, self.device)
            pixels = torch.empty(shape, dtype=dtype, device=self.device)

            def work() -> None:
                pixels.copy_(images, non_blocking=True)
                with torch.inference_mode():
                    logits.copy_(self.forward(pixels), non_blocking=True)

            self._batches[size, dtype] = _Batch(images, logits, Replayed(work, self.device))
        return self._batches[size, dtype]
