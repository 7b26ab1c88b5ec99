"""Rows that know nothing of each other: compiled, 64 at a time in the lanes of a vector, on every core.

Faster than `exact` because row i is a pure function of (seed, i), from a counter-based generator. Rows need no order,
so 64 of them are edited by the same instructions and the cores share the rest; and draws need not be the baseline's,
only their distribution, so 12 words decide what takes the baseline some 150. `kernel` says how.

It costs the baseline's rows: these are others, of the same distribution. What it gives instead is that nothing needs
storing: see `stream`.

Measured in the same run (AMD EPYC (Zen 5), 2 cores, Python 3.11, 2026-11-23, N = 1,200,000): 1,130 to 1,520 times as
fast as the baseline over seven runs, 933 beside a busy neighbour. 12 times the time of filling an array of the
result's size that is already in memory, and 4.5 times that of filling one that is not, as this one is not: that is how
far from the limit it is. A text of nine words: 300 times the baseline (N = 300,000), because words move one row at a
time. Compiling takes some 5 s, once.

What made it so, in nanoseconds a row on one core, and what did not:

- One pass over the columns for 64 edits as vector instructions of LLVM: 0.6 an edit. As a loop for Numba to vectorise:
  18, because it cannot rule out that the arrays overlap.
- Copying 64 finished rows by a slice assignment: 20. Writing them as words of eight ids: under 3.
- Drawing the edits by vector instructions as well: the whole kernel 26, from 34.
- The first edit reads the text and writes the columns, which saves a copy: 7.
- Words moved character by character instead of word by word: 133, from 180 for a text of nine words. Unsigned indices
  alone: 174.
- Philox's words held in 64 bits instead of 32: no difference. Chunks of 2**13 to 2**17 rows: no difference.
"""

from ..shared.cores import usable_cores
from .config import Config
from .dataset import Dataset

__all__ = ["build"]


def build(text: str, config: Config, seed: int = 7) -> Dataset:
    """Make `config.dataset_size` misspelled copies of `text` as rows of ids, and their labels.

    Raises:
        TypeError: `text` is not a str, or `seed` not an int.
        ValueError: `text` is too long, or `seed` is not in 0 .. 2**64 - 1.
    """
    from .rows import Rows  # noqa: PLC0415 - pool workers import this module, and Numba would cost each half a second

    rows = Rows(text, config.max_modifications, config.max_letter_count, seed)
    return Dataset(*rows.compute(0, config.dataset_size, usable_cores()))
