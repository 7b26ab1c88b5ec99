"""Two datasets of the augmentation case: the same rows, or rows of the same distribution."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impl.augmentation.dataset import Dataset

__all__ = ["assert_same_bytes", "assert_same_distribution", "on_host"]

# Five standard errors: a correct variant fails once in 1.7 million comparisons. tests/augmentation compares
# distributions much more sharply.
STANDARD_ERRORS = 5
ROWS_OF_A_DISTRIBUTION = 1_000  # fewer are compared by their shape only


def on_host(dataset: Any) -> Dataset:
    """Return a dataset in the host's memory. One of a revision from before there were others is there already."""
    host: Dataset = dataset.to_host() if hasattr(dataset, "to_host") else dataset
    return host


def assert_same_bytes(expected: Dataset, dataset: Dataset) -> None:
    """Every id and every label equals the baseline's.

    Raises:
        AssertionError: One differs; the message says how many do, and which is the first.
    """
    expected, dataset = on_host(expected), on_host(dataset)
    for name in ("tokens", "labels"):
        wanted, got = getattr(expected, name), getattr(dataset, name)
        if wanted.shape != got.shape:
            raise AssertionError(f"{name} have shape {got.shape} and not {wanted.shape}")
        wrong = np.argwhere(wanted != got)
        if len(wrong):
            first = tuple(wrong[0])
            raise AssertionError(
                f"{len(wrong)} of {wanted.size} {name} differ from the baseline's; the first at "
                f"{list(map(int, first))}: {got[first]} instead of {wanted[first]}"
            )


def assert_same_distribution(expected: Dataset, dataset: Dataset) -> None:
    """Shapes equal the baseline's; means of row lengths, unchanged rows, capitals and labels do up to chance.

    Raises:
        AssertionError: A shape, or the type, or a mean differs.
    """
    expected, dataset = on_host(expected), on_host(dataset)
    if expected.tokens.shape != dataset.tokens.shape:
        raise AssertionError(f"shape {dataset.tokens.shape}, not {expected.tokens.shape}")
    if dataset.tokens.dtype != np.uint8:
        raise AssertionError(f"tokens are {dataset.tokens.dtype}")
    if len(expected) < ROWS_OF_A_DISTRIBUTION:
        return
    for name, statistic in STATISTICS.items():
        wanted, got = statistic(expected), statistic(dataset)
        error = np.sqrt((wanted.var() + got.var()) / len(wanted))
        difference = abs(wanted.mean() - got.mean())
        if difference > STANDARD_ERRORS * error:
            raise AssertionError(
                f"{name}: {got.mean():.4f} on average, the baseline's {wanted.mean():.4f}, which is "
                f"{difference / error if error else np.inf:.1f} standard errors away; chance explains {STANDARD_ERRORS}"
            )


STATISTICS: dict[str, Callable[[Dataset], NDArray[np.float64]]] = {
    "length of a row": lambda dataset: (dataset.tokens > 0).sum(axis=1).astype(float),
    "unchanged rows": lambda dataset: (dataset.tokens == _most_frequent_row(dataset)).all(axis=1).astype(float),
    "capitals in a row": lambda dataset: ((dataset.tokens >= 26) & (dataset.tokens < 52)).sum(axis=1).astype(float),
    "labels": lambda dataset: dataset.labels.astype(float),
}


def _most_frequent_row(dataset: Dataset) -> NDArray[np.uint8]:
    """Return the row of the unchanged text: at least a quarter of the rows are unchanged."""
    rows, counts = np.unique(dataset.tokens, axis=0, return_counts=True)
    return rows[counts.argmax()]
