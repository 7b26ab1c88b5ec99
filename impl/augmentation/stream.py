"""A dataset that stores no rows, and the endless loader over it.

Row i is a pure function of (seed, i), so rows are computed when a batch needs them. So a dataset of 10,000,000,000 rows
starts at once in constant memory, and a training run resumes from the number of its last batch.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from ..shared.cores import usable_cores
from .config import Config
from .rows import CHUNK, Rows

__all__ = ["StreamLoader", "StreamedDataset"]


class StreamedDataset:
    """The rows of `optimised`, computed on demand.

    Attributes:
        rows: Computes the rows.

    Raises:
        TypeError: `text` is not a str, or `seed` not an int.
        ValueError: `text` is too long, or `seed` out of range.
    """

    def __init__(self, text: str, config: Config, seed: int = 7) -> None:
        self.rows = Rows(text, config.max_modifications, config.max_letter_count, seed)
        self.size = config.dataset_size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (float32 [L], float32 [1]). Negative indices count from the end.

        Raises:
            IndexError: `index` is out of range.
        """
        if not -self.size <= index < self.size:
            raise IndexError(f"row {index} of {self.size}")
        tokens, labels = self.batch(index % self.size, 1)
        return tokens[0], labels[0]

    def batch(self, first: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return rows `first` to `first` + `count` - 1 as (float32 [count, L], float32 [count, 1])."""
        tokens, labels = self.rows.compute(first, count)
        return torch.from_numpy(tokens).float(), torch.from_numpy(labels).float().unsqueeze(1)

    @property
    def tokens(self) -> NDArray[np.uint8]:
        """All rows, uint8 [N, L], computed at the first access.

        Raises:
            MemoryError: The rows do not fit into available memory.
        """
        return self._stored[0]

    @property
    def labels(self) -> NDArray[np.uint8]:
        """All labels, uint8 [N], computed with the rows."""
        return self._stored[1]

    @cached_property
    def _stored(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        needed = self.size * (self.rows.width + 1)
        available = psutil.virtual_memory().available
        if needed > available:
            raise MemoryError(
                f"{self.size:,} rows of {self.rows.width} ids take {needed / 2**30:,.1f} GiB, "
                f"and {available / 2**30:,.1f} GiB are available: read them from the loader instead"
            )
        return self.rows.compute(0, self.size, usable_cores())


class StreamLoader:
    """Batches of a streamed dataset, in order, epoch after epoch without end.

    A batch is (float32 [batch_size, L], float32 [batch_size, 1]); the last one of an epoch may be shorter. Batches are
    views of a chunk of some 16,000 rows. The next chunk is computed while one is read.

    Args:
        dataset: The rows.
        batch_size: Rows in a batch.
        start_batch: Batches to skip, counted over all epochs: a run that stopped after n batches resumes with
            `start_batch=n`.

    Attributes:
        batches_per_epoch: ceil(len(dataset) / batch_size).

    Raises:
        ValueError: The dataset has no rows, or `start_batch` is negative.
    """

    def __init__(self, dataset: StreamedDataset, batch_size: int, start_batch: int = 0) -> None:
        if len(dataset) == 0:
            raise ValueError("dataset_size is 0: an endless loader needs at least one row")
        if start_batch < 0:
            raise ValueError(f"start_batch must be at least 0, not {start_batch}")
        self.dataset = dataset
        self.batch_size = batch_size
        self.batches_per_epoch = -(-len(dataset) // batch_size)
        self.start_batch = start_batch

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        starts = self._starts()
        step = self._rows_at_once
        size = len(self.dataset)

        def compute() -> tuple[torch.Tensor, torch.Tensor]:
            first = next(starts)
            return self.dataset.batch(first, min(step, size - first))

        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(compute)
            while True:
                tokens, labels = coming.result()
                coming = ahead.submit(compute)
                yield from zip(torch.split(tokens, self.batch_size), torch.split(labels, self.batch_size), strict=True)

    @property
    def _rows_at_once(self) -> int:
        return max(1, CHUNK // self.batch_size) * self.batch_size

    def _starts(self) -> Iterator[int]:
        first = self.start_batch % self.batches_per_epoch * self.batch_size
        while True:
            yield from range(first, len(self.dataset), self._rows_at_once)
            first = 0
