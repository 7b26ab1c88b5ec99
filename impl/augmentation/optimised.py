"""Independent rows: compiled, 64 at a time in the lanes of a vector, on every core.

Faster than `exact` because row i is a pure function of (seed, i), drawn from a counter-based generator. Rows need no
order, so the same instructions edit 64 of them and the cores divide the work. Draws need only the baseline's
distribution, so 12 random words replace the baseline's 150 or so. `kernel` explains how.

It costs the baseline's rows: these have the same distribution but other values. In return nothing has to be stored: see
`stream`.

Measured in the same run (AMD EPYC (Zen 5), 2 cores, Python 3.11, 2026-11-23, N = 1,200,000): 1,130 to 1,520 times as
fast as the baseline over seven runs, 933 times beside a noisy neighbour. It takes 12 times as long as filling an array
of the result's size that is already in memory, and 4.5 times as long as filling a new one, which it has to do: this is
the distance from the limit. For a text of nine words it is 300 times as fast as the baseline (N = 300,000), because
words are moved one row at a time. Compiling takes some 5 s, once.

What helped and what did not, in nanoseconds per row on one core:

- One pass over the columns for 64 edits in LLVM's vector instructions: 0.6 per edit. As a loop for Numba to vectorise:
  18, because Numba cannot rule out that the arrays overlap.
- Copying 64 finished rows by a slice assignment: 20. Writing them as words of eight ids: under 3.
- Drawing the edits with vector instructions too: 26 for the whole kernel, from 34.
- The first edit reads the text and writes the columns, which saves a copy: 7.
- Moving words character by character instead of word by word: 133, from 180, for a text of nine words. Unsigned indices
  alone: 174.
- Philox's words held in 64 bits instead of 32: no difference. Chunks of 2**13 to 2**17 rows: no difference.
"""

from typing import TYPE_CHECKING

from ..shared.cores import usable_cores
from .config import Config
from .dataset import Dataset

if TYPE_CHECKING:
    from .stream import StreamedDataset, StreamLoader

__all__ = ["build", "stream"]


def build(text: str, config: Config, seed: int = 7) -> Dataset:
    """Make `config.dataset_size` misspelled copies of `text` as rows of ids, and their labels.

    Raises:
        TypeError: `text` is not a str, or `seed` not an int.
        ValueError: `text` is too long, or `seed` is not in 0 .. 2**64 - 1.
    """
    from .rows import Rows  # noqa: PLC0415 - pool workers import this module, and importing Numba takes 0.5 s

    rows = Rows(text, config.max_modifications, config.max_letter_count, seed)
    return Dataset(*rows.compute(0, config.dataset_size, usable_cores()))


def stream(text: str, config: Config, seed: int = 7) -> "tuple[StreamedDataset, StreamLoader]":
    """Return the same rows as a dataset that stores nothing, and an endless loader that computes them on demand.

    Raises:
        TypeError: `text` is not a str, or `seed` not an int.
        ValueError: `text` is too long, `seed` is not in 0 .. 2**64 - 1, or `config.dataset_size` is 0.
    """
    from .stream import StreamedDataset, StreamLoader  # noqa: PLC0415 - needs torch, which pool workers do not

    dataset = StreamedDataset(text, config, seed)
    return dataset, StreamLoader(dataset, config.batch_size)
