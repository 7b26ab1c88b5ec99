"""A dataset that stores no rows: row i is a pure function of (seed, i), computed when a batch needs it."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from ..shared.cores import usable_cores
from .config import Config
from .rows import Rows

__all__ = ["StreamedDataset"]


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

    def __getstate__(self) -> dict[str, Any]:
        """Leave out rows that were computed: a worker process computes what it needs."""
        return {name: value for name, value in vars(self).items() if name != "_stored"}

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

    def gather(self, pieces: Sequence[tuple[int, int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the rows of pieces, which are (first row, rows), one after another, as `batch` returns them."""
        tokens, labels = self.rows.compute_pieces(pieces)
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
