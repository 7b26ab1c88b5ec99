"""Shuffles of a row's words, one row at a time."""

import numpy as np
from numba import int64, njit, uint32, uint64

from .lanes import ACTIVE, LANES, LENGTH, METHODS, SHUFFLED, USED
from .philox import philox4x32
from .vocabulary import END, VOCABULARY

__all__ = ["charge_shuffles", "shuffle_rows"]

SPACE = VOCABULARY.index(" ")
SHUFFLE_BLOCKS = np.uint32(1 << 31)
"""Added to the third word of a counter, so that shuffles and edits draw from different blocks."""


@njit(nogil=True)
def shuffle_lane(columns, lane, length, row, turn, k0, k1, copy, starts, order, moves):
    """Shuffle the words of one row: Fisher-Yates from the end, as numpy.random.shuffle does."""
    one = uint64(1)
    spaces = uint64(0)
    starts[0] = 0
    order[0] = 0
    for j in range(uint64(length)):
        letter = columns[one + j, lane]
        copy[j] = letter
        # Written for every character, and final at a space: this avoids an unpredictable branch.
        starts[spaces + one] = j + one
        order[spaces + one] = spaces + one
        spaces += uint64(letter == SPACE)
    starts[spaces + one] = uint64(length) + one
    words = (uint32(0), uint32(0), uint32(0), uint32(0))
    for drawn in range(spaces):
        if drawn % uint64(4) == uint64(0):
            block = uint32(SHUFFLE_BLOCKS | uint32(drawn // uint64(4)))
            words = philox4x32(uint32(row), uint32(row >> uint64(32)), block, turn, k0, k1)
        last = spaces - drawn
        chosen = (uint64(words[drawn % uint64(4)]) * (last + one)) >> uint64(32)
        order[last], order[chosen] = order[chosen], order[last]
    # How far each word moves, together with the space after it.
    end = int64(0)
    for rank in range(spaces + one):
        word = order[rank]
        moves[word] = end - starts[word]
        end += starts[word + 1] - starts[word]
    # Character by character: a loop per word would mispredict its end.
    word = uint64(0)
    copy[length] = SPACE
    for j in range(uint64(length) + one):
        columns[uint64(int64(j) + moves[word]) + one, lane] = copy[j]
        word += uint64(copy[j] == SPACE)
    columns[uint64(length) + one, lane] = END


@njit(nogil=True)
def charge_shuffles(state, method, other, budget):
    """Choose active rows that have one of two methods and budget left, and charge each of them one change."""
    for lane in range(uint64(LANES)):
        chosen = (state[METHODS, lane] == uint32(method)) | (state[METHODS, lane] == uint32(other))
        shuffled = state[ACTIVE, lane] & uint32(chosen & (state[USED, lane] < uint32(budget)))
        state[SHUFFLED, lane] = shuffled
        state[USED, lane] += shuffled


@njit(nogil=True)
def shuffle_rows(columns, state, first, turn, k0, k1, copy, starts, order, moves):
    """Shuffle the words of the chosen rows."""
    for lane in range(uint64(LANES)):
        if state[SHUFFLED, lane]:
            length = int64(state[LENGTH, lane])
            shuffle_lane(columns, lane, length, first + lane, turn, k0, k1, copy, starts, order, moves)
