"""Sixty-four rows at a time, one in each lane of a vector: the compiled part of `optimised`.

A group of 64 rows is stored as columns: `columns[j, lane]` is the id at place j of row `lane`. One edit in each of the
64 rows, at a place of its own, is then one pass over the columns. In each column a lane keeps its id, takes its right
neighbour's (a removal) or takes a letter (a substitution), and no lane waits for another. `<END>` and the padding are
part of the columns, so a removal moves them too, and rows need no measuring or padding afterwards. At the end the
columns are transposed into rows.

The result has the baseline's distribution with fewer draws: see `edits`. Random words come from `philox`.
"""

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types, uint32, uint64
from numba.extending import intrinsic
from numpy.typing import NDArray

from ..shared.kept import kept
from ..shared.vectors import borrowed, vector_code
from .edits import draw_edits, draw_rounds, edit_columns, edits_left, look_up
from .lanes import ACTIVE, COUNT_BITS, LANES, LENGTH, METHODS, MODIFY_SHUFFLE, SHUFFLE, SHUFFLE_MODIFY, SHUFFLED, USED
from .philox import draw_words
from .shuffles import charge_shuffles, shuffle_rows
from .vocabulary import BEG, END, PAD

__all__ = ["Plan", "fill_rows", "make_scratch"]


class Plan(NamedTuple):
    """The arguments that are the same for every row."""

    text: NDArray[np.uint8]
    """The ids of the text, [n]."""
    has_words: bool
    """Whether the text has a space, so that a shuffle can change it."""
    budget: int
    """Changes that a row may have, at least 1."""
    rounds: NDArray[np.uint32]
    """Entry t is 2**COUNT_BITS times the probability that at most t rounds have an effect."""
    alphabet: NDArray[np.uint8]
    """The ids that a substitution draws from."""
    places: NDArray[np.uint8] | NDArray[np.uint32]
    """An empty array with the dtype of a place in the text: uint8 up to NARROW characters."""


@intrinsic
def weave_columns(_context, columns, woven):
    """Transpose eight columns of 64 ids (uint8 [8, 64]) into the rows' 64 words of eight ids (uint64 [64])."""

    def body(w, columns, woven):
        def interleave(left, right):
            vectors = []
            for first in (0, LANES // 2):
                picks = [first + k // 2 + (LANES if k % 2 else 0) for k in range(LANES)]
                vectors.append(w.builder.shuffle_vector(left, right, ir.Constant(w.ints, picks)))
            return vectors

        parts = [[w.load(columns, column * LANES, kind=w.bytes)] for column in range(8)]
        while len(parts) > 1:
            half = len(parts) // 2
            parts = [
                [vector for pair in zip(parts[k], parts[k + half], strict=True) for vector in interleave(*pair)]
                for k in range(half)
            ]
        for k, vector in enumerate(parts[0]):
            w.store(vector, woven, k * LANES // 8)

    return types.void(columns, woven), vector_code(body, LANES)


@njit(nogil=True)
def find_unchanged(columns, state, text, has_words, budget):
    """Keep rows active that still equal the text and have budget left; return whether there are any."""
    n = text.shape[0]
    # In a text of one word, a shuffle alone changes nothing until the budget is spent.
    for lane in range(uint64(LANES)):
        may = (state[LENGTH, lane] == uint32(n)) & (state[USED, lane] < uint32(budget))
        may &= has_words | (state[METHODS, lane] != uint32(SHUFFLE))
        state[ACTIVE, lane] &= uint32(may)
    some = False
    for lane in range(LANES):
        if state[ACTIVE, lane]:
            j = 0
            while j < n and columns[1 + j, lane] == text[j]:
                j += 1
            state[ACTIVE, lane] = j == n
            some |= j == n
    return some


@njit(nogil=True)
def write_rows(columns, woven, rows):
    """Transpose columns (uint8 [8 * blocks, LANES]) into rows of words of eight ids (uint64 [<= LANES, blocks])."""
    blocks = rows.shape[1]
    for block in range(blocks):
        weave_columns(columns[8 * block : 8 * block + 8], woven[block])
    for lane in range(rows.shape[0]):
        for block in range(blocks):
            rows[lane, block] = woven[block, lane]


class Scratch(NamedTuple):
    """Memory for one call of `fill_rows`."""

    text: NDArray[np.uint8]
    """The text in every lane: `<BEG>`, the text, `<END>`, one of padding; [n + 3, LANES]."""
    columns: NDArray[np.uint8]
    """The rows being edited, with padding to a multiple of eight ids; [at least n + 3, LANES]."""
    words: NDArray[np.uint32]
    """The random words of a turn; [blocks, 4, LANES]."""
    state: NDArray[np.uint32]
    """The state of each row; [SHUFFLED + 1, LANES]."""
    removed: NDArray[np.uint8] | NDArray[np.uint32]
    """The place that each row's edit removes; [LANES]."""
    substituted: NDArray[np.uint8] | NDArray[np.uint32]
    """The place where each row's edit puts a letter; [LANES]."""
    letters: NDArray[np.uint8]
    """That letter; [LANES]."""
    woven: NDArray[np.uint64]
    """Rows in words of eight ids; [words in a row, LANES]."""
    copy: NDArray[np.uint8]
    """One row while its words are shuffled; [n + 1]."""
    starts: NDArray[np.int64]
    """Where the words of that row start; [n + 2]."""
    order: NDArray[np.int64]
    """The shuffled order of its words; [n + 2]."""
    moves: NDArray[np.int64]
    """How far each word moves; [n + 1]."""


def make_scratch(plan: Plan, words_in_row: int) -> Scratch:
    """Allocate what `fill_rows` needs for rows of `words_in_row` words of eight ids."""
    n = len(plan.text)
    words = 1 + min(plan.budget, 2 * n) * (1 if plan.places.itemsize == 1 else 2)
    columns = np.full((max(n + 2, 8 * words_in_row) + 1, LANES), PAD, np.uint8)
    columns[0] = BEG
    columns[1 : 1 + n] = plan.text[:, None]
    columns[1 + n] = END
    return Scratch(
        text=columns[: n + 3].copy(),
        columns=columns,
        words=np.empty((-(-words // 4), 4, LANES), np.uint32),
        state=np.empty((SHUFFLED + 1, LANES), np.uint32),
        removed=np.empty(LANES, plan.places.dtype),
        substituted=np.empty(LANES, plan.places.dtype),
        letters=np.empty(LANES, np.uint8),
        woven=np.empty((words_in_row, LANES), np.uint64),
        copy=np.empty(n + 1, np.uint8),
        starts=np.empty(n + 2, np.int64),
        order=np.empty(n + 2, np.int64),
        moves=np.empty(n + 1, np.int64),
    )


@kept(nogil=True)
def fill_rows(plan, scratch, first, k0, k1, rows, labels):
    """Compute rows `first`, `first` + 1, ... and their labels.

    `rows` is uint64 [N, words], eight ids in a word, so that a row is padded to a multiple of eight ids; `labels` is
    uint8 [N]. `k0` and `k1` are the halves of the seed. `plan` and `scratch` are a Plan and a Scratch as plain tuples:
    where another revision of this module is loaded beside it, telling two classes of the same name apart would cost
    Numba 0.1 ms per call.

    Thread-safe: any number of threads may run it at once, each with rows and scratch memory of its own.
    """
    plain, has_words, most, table, alphabet, places = plan
    text, columns, words, state, removed, substituted, letters, woven, copy, starts, order, moves = scratch
    alphabet, table, plain = borrowed(alphabet), borrowed(table), borrowed(plain)
    text, columns, words, state = borrowed(text), borrowed(columns), borrowed(words), borrowed(state)
    removed, substituted, letters = borrowed(removed), borrowed(substituted), borrowed(letters)
    copy, starts, order, moves = borrowed(copy), borrowed(starts), borrowed(order), borrowed(moves)
    woven, rows, labels = borrowed(woven), borrowed(rows), borrowed(labels)
    n = plain.shape[0]
    budget = uint64(most)
    slots = min(most, 2 * n)
    letter_words = places.itemsize > 1
    size = uint64(alphabet.shape[0])
    word = words.reshape(-1, LANES)

    for start in range(0, rows.shape[0], LANES):
        group = uint64(first + start)
        if has_words:
            columns[: n + 3] = text
        state[USED] = 0
        state[LENGTH] = n
        state[ACTIVE] = n > 0
        turn = uint32(0)
        active = True
        while active:
            draw_words(words, group, turn, k0, k1)
            if turn == 0:
                for lane in range(uint64(LANES)):
                    state[METHODS, lane] = word[0, lane] >> uint32(30)
                for lane in range(min(LANES, labels.shape[0] - start)):
                    labels[start + lane] = (word[0, lane] >> uint32(COUNT_BITS)) & uint32(1)
            draw_rounds(state, word[0], table)
            charge_shuffles(state, SHUFFLE, SHUFFLE_MODIFY, budget)
            if has_words:
                shuffle_rows(columns, state, group, turn, k0, k1, copy, starts, order, moves)
            for slot in range(slots):
                # The first edit reads the text and writes the columns, which saves copying the text first.
                begins = turn == 0 and slot == 0 and not has_words
                if not begins and not edits_left(state):
                    break
                extra = word[1 + slots + slot] if letter_words else word[0][:0]
                draw_edits(state, word[1 + slot], uint32(budget), size, removed, substituted, letters)
                look_up(letters, extra, alphabet)
                edit_columns(text if begins else columns, columns, uint64(n + 2), removed, substituted, letters)
            charge_shuffles(state, MODIFY_SHUFFLE, MODIFY_SHUFFLE, budget)
            if has_words:
                shuffle_rows(columns, state, group, turn, k0, k1, copy, starts, order, moves)
            active = find_unchanged(columns, state, plain, has_words, budget)
            turn = uint32(turn + uint32(1))
        write_rows(columns, woven, rows[start : start + LANES])
