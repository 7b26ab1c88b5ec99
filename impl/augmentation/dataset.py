"""The rows and labels that every variant returns."""

from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

__all__ = ["Dataset"]


class Dataset:
    """A map-style dataset over two arrays.

    Attributes:
        tokens: uint8 [N, L], one row of token ids per copy of the text.
        labels: uint8 [N], 0 or 1.
    """

    def __init__(self, tokens: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        self.tokens = tokens
        self.labels = labels

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> tuple["torch.Tensor", "torch.Tensor"]:
        """Return (float32 [L], float32 [1]). Negative indices count from the end.

        Raises:
            IndexError: `index` is out of range.
        """
        import torch  # noqa: PLC0415 - takes seconds, and the pool workers import this module without needing torch

        row, label = self.tokens[index], self.labels[index]
        return torch.from_numpy(row.astype(np.float32)), torch.tensor([label], dtype=torch.float32)

    def to_host(self) -> Self:
        """Return the dataset with NumPy's arrays, as it is: a dataset on a GPU copies them from there."""
        return self
