"""One row in each thread of a GPU: the rows of `kernel`, from the same random words.

The tables, `philox` and the shuffle of a row's words are those of the CPU. What is written anew is the loop over a
row's edits: there, 64 rows take each step together in a vector; here, each thread goes its own way. Rows lie in
columns, as there, so that threads side by side write side by side.

`fill_rows` is Python until Numba compiles it for a device; NUMBA_ENABLE_CUDASIM=1 has Numba's simulator run it.
"""

import math

import numpy as np
from numba import cuda, uint8, uint32, uint64

from .kernel import Plan
from .lanes import (
    COUNT_BITS,
    MODIFY_SHUFFLE,
    NARROW,
    PLACE_BITS,
    SHUFFLE,
    SHUFFLE_MODIFY,
    THEN_REMOVE,
    THEN_SUBSTITUTE,
)
from .philox import philox4x32
from .shuffles import shuffle_lane
from .vocabulary import BEG, END, PAD

__all__ = ["fill_rows", "scratch_shapes", "threads_for"]

philox = cuda.jit(device=True)(philox4x32.py_func)
shuffle = cuda.jit(device=True)(shuffle_lane.py_func)

THREADS = 2**18
"""Rows that are edited at once, at most: more than a GPU has threads in flight."""
SCRATCH_BYTES = 2**30
"""Memory on the device for the rows that are edited: of long texts, fewer at once."""


def scratch_shapes(plan: Plan, words: int, threads: int) -> list[tuple[tuple[int, int], str]]:
    """Return the shape and dtype of each array that so many threads need, for rows of `words` words of eight ids.

    They are: the rows being edited, a column for each thread; and, if the text has words, for each thread a row while
    its words are shuffled, where its words start, their shuffled order, and how far each moves.
    """
    n = len(plan.text)
    columns = (max(n + 2, 8 * words) + 1, threads)
    if not plan.has_words:
        n, threads = 0, 1
    return [
        (columns, "uint8"),
        ((threads, n + 1), "uint8"),
        ((threads, n + 2), "int64"),
        ((threads, n + 2), "int64"),
        ((threads, n + 1), "int64"),
    ]


def threads_for(plan: Plan, words: int, rows: int) -> int:
    """Return how many rows to edit at once."""
    of_one = sum(math.prod(shape) * np.dtype(kind).itemsize for shape, kind in scratch_shapes(plan, words, 1))
    return max(1, min(rows, THREADS, SCRATCH_BYTES // of_one))


@cuda.jit(device=True)
def word_of(place, row, turn, k0, k1):
    """Return the random word at a place of a row's turn."""
    four = philox(uint32(row), uint32(row >> uint64(32)), uint32(place // 4), turn, k0, k1)
    return four[place % 4]


@cuda.jit(device=True)
def begin(columns, lane, text):
    """Write `<BEG>`, the text, `<END>` and padding into a column."""
    n = text.shape[0]
    columns[0, lane] = BEG
    for j in range(n):
        columns[1 + j, lane] = text[j]
    columns[1 + n, lane] = END
    for j in range(n + 2, columns.shape[0]):
        columns[j, lane] = PAD


@cuda.jit(device=True)
def edit(columns, lane, length, word, rounds, pending, text, alphabet, letter_word):
    """Apply one edit to a column; return its length, the rounds left and what is pending."""
    fresh = pending == 0
    substitution = (word & uint32(1)) != 0 if fresh else pending == THEN_SUBSTITUTE
    product = uint64(word >> uint32(2)) * uint64(length)
    place = int(product >> uint64(PLACE_BITS)) + 1
    if substitution:
        drawn = product & uint64((1 << PLACE_BITS) - 1)
        if text.shape[0] > NARROW:
            drawn = uint64(letter_word >> uint32(2))
        columns[place, lane] = alphabet[int((drawn * uint64(alphabet.shape[0])) >> uint64(PLACE_BITS))]
    else:
        for j in range(place, length + 2):
            columns[j, lane] = columns[j + 1, lane]
        length -= 1
    if fresh:
        rounds -= 1
        if (word & uint32(2)) != 0:
            return length, rounds, THEN_REMOVE if substitution else THEN_SUBSTITUTE
    return length, rounds, 0


@cuda.jit(device=True)
def misspell(columns, lane, text, has_words, budget, table, alphabet, row, k0, k1, copy, starts, order, moves):
    """Leave a finished row in a column, and return its label; the steps are those of `kernel.fill_rows`."""
    begin(columns, lane, text)
    n = text.shape[0]
    slots = min(budget, 2 * n)
    length, used, turn = n, 0, uint32(0)
    first = philox(uint32(row), uint32(row >> uint64(32)), uint32(0), turn, k0, k1)[0]
    method, label = int(first >> uint32(30)), uint8((first >> uint32(COUNT_BITS)) & uint32(1))
    active = n > 0
    while active:
        rounds, pending = 0, 0
        if method != SHUFFLE:
            count = word_of(0, row, turn, k0, k1) & uint32((1 << COUNT_BITS) - 1)
            for entry in range(table.shape[0]):
                rounds += 1 if count >= table[entry] else 0
        if (method == SHUFFLE or method == SHUFFLE_MODIFY) and used < budget:
            used += 1
            if has_words:
                shuffle(columns, lane, length, row, turn, k0, k1, copy, starts, order, moves)
        slot = 0
        while slot < slots and (rounds != 0 or pending != 0) and used < budget and length != 0:
            word = word_of(1 + slot, row, turn, k0, k1)
            letter_word = word_of(1 + slots + slot, row, turn, k0, k1) if n > NARROW else uint32(0)
            length, rounds, pending = edit(columns, lane, length, word, rounds, pending, text, alphabet, letter_word)
            used += 1
            slot += 1
        if method == MODIFY_SHUFFLE and used < budget:
            used += 1
            if has_words:
                shuffle(columns, lane, length, row, turn, k0, k1, copy, starts, order, moves)
        # In a text of one word, a shuffle alone changes nothing until the budget is spent.
        active = length == n and used < budget and (has_words or method != SHUFFLE)
        j = 0
        while active and j < n:
            active = columns[1 + j, lane] == text[j]
            j += 1
        turn = uint32(turn + uint32(1))
    return label


@cuda.jit
def fill_rows(
    text, has_words, budget, table, alphabet, first, k0, k1, rows, labels, columns, copies, starts, orders, moves
):
    """Compute rows `first`, `first` + 1, ... and their labels, with as many threads as `columns` is wide.

    `rows` is uint64 [N, words], eight ids in a word, so that a row is padded to a multiple of eight ids; `labels` is
    uint8 [N]. `k0` and `k1` are the halves of the seed, uint32. See `kernel.Plan` for the others.
    """
    lane = cuda.grid(1)
    threads = columns.shape[1]
    if lane >= threads:
        return
    own = lane if has_words else 0
    for index in range(lane, rows.shape[0], threads):
        labels[index] = misspell(
            columns, lane, text, has_words, budget, table, alphabet, uint64(first + index), k0, k1,
            copies[own], starts[own], orders[own], moves[own],
        )  # fmt: skip
        for word in range(rows.shape[1]):
            eight = uint64(0)
            for j in range(8):
                eight |= uint64(columns[8 * word + j, lane]) << uint64(8 * j)
            rows[index, word] = eight
