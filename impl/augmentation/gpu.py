"""The rows of `optimised` on a GPU: one thread per row, with the same tables and random words.

Why it should be faster than `optimised`: row i is a pure function of (seed, i), so a million rows are a million
independent threads, and only the text is copied from the host. The tokens stay on the device, as a torch tensor.

It costs a GPU, and the start of CUDA. **Not yet measured**: no GPU was at hand (2026-11-28), so whether it is faster,
how near it is to the time of writing its result, and what helps, are unknown. Tested are: the rows are `optimised`'s
bit for bit in Numba's simulator, for texts of all kinds; and the kernel compiles to PTX for compute capability 9.0
(numba-cuda 0.30.4, tried by hand).
"""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from ..shared.device import no_cuda
from .config import Config
from .dataset import Dataset

if TYPE_CHECKING:
    import torch

__all__ = ["DeviceDataset", "DeviceLoader", "build", "load", "missing"]

BLOCK = 128
"""Threads of a block."""


def missing() -> str | None:
    """Return why this machine cannot run it, or None."""
    reason = no_cuda()
    if reason is None and find_spec("numba_cuda") is None:
        return "Numba's compiler for GPUs is needed: pip install 'ml-performance-suite[gpu]'"
    return reason


class DeviceDataset:
    """A map-style dataset whose rows are on a GPU.

    Attributes:
        tokens: torch.uint8 [N, L] on the device, one row of token ids per copy of the text.
        labels: torch.uint8 [N] there, 0 or 1.
    """

    def __init__(self, tokens: "torch.Tensor", labels: "torch.Tensor") -> None:
        self.tokens = tokens
        self.labels = labels

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> tuple["torch.Tensor", "torch.Tensor"]:
        """Return (float32 [L], float32 [1]) on the device. Negative indices count from the end.

        Raises:
            IndexError: `index` is out of range.
        """
        return self.tokens[index].float(), self.labels[index].float().reshape(1)

    def to_host(self) -> Dataset:
        """Return a copy in NumPy's arrays."""
        return Dataset(self.tokens.cpu().numpy(), self.labels.cpu().numpy())


class DeviceLoader:
    """Batches of a dataset on a GPU, in its order, epoch after epoch without end; nothing is copied to the host.

    A batch is (float32 [batch_size, L], float32 [batch_size, 1]); the last one of an epoch may be shorter.

    Attributes:
        batches_per_epoch: ceil(len(dataset) / batch_size).

    Raises:
        ValueError: The dataset has no rows: an endless loader over it would never yield.
    """

    def __init__(self, dataset: DeviceDataset, batch_size: int) -> None:
        if len(dataset) == 0:
            raise ValueError("dataset_size is 0: an endless loader needs at least one row")
        self.dataset, self.batch_size = dataset, batch_size
        self.batches_per_epoch = -(-len(dataset) // batch_size)

    def __iter__(self) -> Iterator[tuple["torch.Tensor", "torch.Tensor"]]:
        while True:
            for start in range(0, len(self.dataset), self.batch_size):
                rows = slice(start, start + self.batch_size)
                yield self.dataset.tokens[rows].float(), self.dataset.labels[rows].float()[:, None]


def load(text: str, config: Config, seed: int = 7) -> tuple[DeviceDataset, DeviceLoader]:
    """Return the dataset of `build`, and an endless loader over it.

    Raises:
        TypeError: `text` is not a str, or `seed` not an int.
        ValueError: `text` is too long, `seed` is not in 0 .. 2**64 - 1, or `config.dataset_size` is 0.
    """
    dataset = build(text, config, seed)
    return dataset, DeviceLoader(dataset, config.batch_size)


def build(text: str, config: Config, seed: int = 7) -> DeviceDataset:
    """Make `config.dataset_size` misspelled copies of `text` on the current CUDA device; return when they are there.

    Raises:
        TypeError: `text` is not a str, or `seed` not an int.
        ValueError: `text` is too long, or `seed` is not in 0 .. 2**64 - 1.
    """
    import torch  # noqa: PLC0415 - pool workers import this module, and importing torch or Numba takes seconds
    from numba import cuda  # noqa: PLC0415 - likewise

    from .gpu_kernel import fill_rows, scratch_shapes, threads_for  # noqa: PLC0415 - likewise
    from .rows import Rows  # noqa: PLC0415 - likewise

    rows = Rows(text, config.max_modifications, config.max_letter_count, seed)
    plan, words = rows.plan, -(-rows.width // 8)
    # int64, because torch can do little with uint64: the bytes are the same.
    tokens = torch.empty((config.dataset_size, words), dtype=torch.int64, device="cuda")
    labels = torch.empty(config.dataset_size, dtype=torch.uint8, device="cuda")
    if config.dataset_size:
        threads = threads_for(plan, words, config.dataset_size)
        # torch's allocator keeps what was freed; Numba would ask the driver each time.
        scratch = [
            torch.empty(shape, dtype=getattr(torch, kind), device="cuda")
            for shape, kind in scratch_shapes(plan, words, threads)
        ]
        stream = cuda.external_stream(torch.cuda.current_stream().cuda_stream)
        given = [cuda.to_device(array, stream) for array in (plan.text, plan.rounds, plan.alphabet)]
        fill_rows[-(-threads // BLOCK), BLOCK, stream](
            given[0], plan.has_words, plan.budget, given[1], given[2], np.uint64(0), *rows.key,
            *map(cuda.as_cuda_array, (tokens, labels, *scratch)),
        )  # fmt: skip
        stream.synchronize()
    return DeviceDataset(tokens.view(torch.uint8)[:, : rows.width], labels)
