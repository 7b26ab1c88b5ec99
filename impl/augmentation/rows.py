"""The rows of `optimised`, computed on demand: row i is a pure function of (seed, i)."""

import string
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from .baseline import CHANGE_PROBABILITY
from .kernel import Plan, fill_rows, make_scratch
from .lanes import COUNT_BITS, LANES, NARROW
from .progress import progress
from .vocabulary import VOCABULARY, clean

__all__ = ["CHUNK", "Rows"]

CHUNK = 2**14
"""Rows that a thread computes at a time: 0.5 ms of work, and 1 MB of default rows, which the cache holds."""

ROUNDS_THAT_ACT = 2 / 3
"""Share of the rounds with a chance in which randint(0, 2) is not 0."""


class Rows:
    """The misspelled rows of one text, numbered from 0.

    Args:
        text: The text, at most `config.MAX_TEXT_LENGTH` characters.
        max_modifications: The budget of one row, inclusive.
        max_letter_count: Ids in a row.
        seed: 0 .. 2**64 - 1.
        probability: The chance of a character in `modify_characters`.
        letters: What a substitution draws from.

    Raises:
        TypeError: `text` is not a str, or `seed` not an int.
        ValueError: `text` is too long, or `seed` out of range.
    """

    def __init__(
        self,
        text: str,
        max_modifications: int,
        max_letter_count: int,
        seed: int,
        *,
        probability: float = CHANGE_PROBABILITY,
        letters: str = string.ascii_letters,
    ) -> None:
        text = clean(text).strip()
        if not isinstance(seed, int):
            raise TypeError(f"seed must be an int, not {seed!r}")
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed must be in 0 .. 2**64 - 1, not {seed}")
        self.width = max_letter_count
        self.key = np.uint32(seed % 2**32), np.uint32(seed >> 32)
        budget = max_modifications + 1
        n = len(text)
        # No more rounds are counted than can spend the budget.
        rounds = np.arange(min(budget, n))
        at_most = bdtr(rounds, n, probability * ROUNDS_THAT_ACT)
        self.plan = Plan(
            text=ids_of(text),
            has_words=" " in text,
            budget=budget,
            rounds=np.rint(at_most * 2**COUNT_BITS).astype(np.uint32),
            alphabet=ids_of(letters),
            places=np.empty(0, np.uint8) if n <= NARROW else np.empty(0, np.uint32),
        )

    def compute(self, first: int, count: int, threads: int = 1) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return `count` rows from `first` on, uint8 [count, max_letter_count], and their labels, uint8 [count].

        The result does not depend on `threads`.
        """
        words = -(-self.width // 8)
        rows = np.empty((count, words), np.uint64)
        labels = np.empty(count, np.uint8)

        if count < 2 * CHUNK:
            threads = 1  # starting another takes as long as it would save
        # As many chunks for each thread, in whole groups.
        chunks = -(-count // (CHUNK * threads)) * threads
        step = -(-count // (max(chunks, 1) * LANES)) * LANES or LANES
        local = threading.local()

        def prepare() -> None:
            local.scratch = tuple(make_scratch(self.plan, words))

        def fill(start: int) -> None:
            chunk = slice(start, start + step)
            fill_rows(tuple(self.plan), local.scratch, np.uint64(first + start), *self.key, rows[chunk], labels[chunk])

        starts = range(0, count, step)
        if threads == 1:
            prepare()
            for start in progress(starts, total=len(starts), unit="chunk"):
                fill(start)
        else:
            # Numba's parallel loops fail in a forked child (omp) or when several threads call them (workqueue). Threads
            # have neither limit, and the kernel releases the GIL.
            with ThreadPoolExecutor(threads, initializer=prepare) as pool:
                for _ in progress(pool.map(fill, starts), total=len(starts), unit="chunk"):
                    pass
        return rows.view(np.uint8)[:, : self.width], labels

    def compute_pieces(self, pieces: Sequence[tuple[int, int]]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the rows of pieces, which are (first row, rows), one after another: arrays as from `compute`.

        Memory is allocated once for all of them. For pieces of 32 rows this is several times as fast as `compute` for
        each.
        """
        words = -(-self.width // 8)
        total = sum(count for _, count in pieces)
        rows = np.empty((total, words), np.uint64)
        labels = np.empty(total, np.uint8)
        plan, scratch = tuple(self.plan), tuple(make_scratch(self.plan, words))
        end = 0
        for first, count in pieces:
            piece = slice(end, end := end + count)
            fill_rows(plan, scratch, np.uint64(first), *self.key, rows[piece], labels[piece])
        ids = rows.view(np.uint8)
        return ids[:, : self.width], labels


def ids_of(text: str) -> NDArray[np.uint8]:
    """Return the ids of characters that are all in the vocabulary."""
    return np.array([VOCABULARY.index(character) for character in text], dtype=np.uint8)
