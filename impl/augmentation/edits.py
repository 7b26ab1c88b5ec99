"""Character edits of a group of rows: what is drawn for each, and how it is applied to all 64 at once.

In a round of `modify_characters` a character is changed with a chance of 0.2, and one in three of those changes has no
effect. So of n rounds Binomial(n, 2/15) have an effect, and each of these is one of four equally likely actions:
remove, substitute, remove and substitute, substitute and remove. One draw gives the number of rounds, from a table.

Each edit takes one 32-bit word. Two bits choose the action. Thirty bits choose the place by multiply-shift (D. Lemire,
"Fast random integer generation in an interval", 2019, without the rejection: an outcome's probability is off by a
factor of at most 1 + length / 2**30). The letter comes from the remainder of that multiplication. Texts beyond 253
characters take the letter from a word of its own, because the remainder has too few bits there.
"""

from llvmlite import ir
from numba import njit, types, uint32, uint64
from numba.extending import intrinsic

from ..shared.vectors import vector_code
from .lanes import (
    ACTIVE,
    COUNT_BITS,
    LANES,
    LENGTH,
    METHODS,
    PENDING,
    PLACE_BITS,
    ROUNDS,
    SHUFFLE,
    THEN_REMOVE,
    THEN_SUBSTITUTE,
    USED,
)

__all__ = ["draw_edits", "draw_rounds", "edit_columns", "edits_left", "look_up"]


@njit(nogil=True)
def draw_rounds(state, words, table):
    """Draw the number of rounds that have an effect; rows that are not active or do not modify characters get 0."""
    counts = state[ROUNDS]
    counts[:] = 0
    for entry in range(uint64(table.shape[0])):
        bound = table[entry]
        for lane in range(uint64(LANES)):
            counts[lane] += uint32((words[lane] & uint32((1 << COUNT_BITS) - 1)) >= bound)
    for lane in range(uint64(LANES)):
        if not state[ACTIVE, lane] or state[METHODS, lane] == SHUFFLE:
            counts[lane] = 0
        state[PENDING, lane] = 0


@njit(nogil=True)
def edits_left(state):
    """Return whether any row has edits left."""
    left = uint32(0)
    for lane in range(uint64(LANES)):
        left |= state[ROUNDS, lane] | state[PENDING, lane]
    return left != uint32(0)


@intrinsic
def draw_edits(_context, state, words, budget, size, removed, substituted, letters):
    """Decide the next edit of every lane from its word (uint32 [LANES]), and account for it in its state.

    `letters` gets numbers below `size`. Numba widens every integer to 64 bits, so with this as a plain loop the whole
    kernel took 34 ns per row instead of 26 (AMD EPYC Turin, 2026-11-23).
    """
    place_type = ir.VectorType(ir.IntType(removed.dtype.bitwidth), LANES)

    def body(w, state, words, budget, size, removed, substituted, letters):
        builder = w.builder

        def constant(number):
            return w.constant(number, w.ints)

        def has_bit(value, bit):
            return w.compare("!=", builder.and_(value, constant(bit)), constant(0))

        def save_state(value, row):
            w.store(value, state, row * LANES)

        word = w.load(words, kind=w.ints)
        used, rounds, pending, length = (
            w.load(state, row * LANES, kind=w.ints) for row in (USED, ROUNDS, PENDING, LENGTH)
        )
        edits = builder.and_(
            w.compare("<", used, w.splat(budget), signed=False),
            builder.and_(
                w.compare("!=", length, constant(0)), w.compare("!=", builder.or_(rounds, pending), constant(0))
            ),
        )
        fresh = w.compare("==", pending, constant(0))
        begins = builder.and_(edits, fresh)
        first_is_substitution, second_is = has_bit(word, 1), w.compare("==", pending, constant(THEN_SUBSTITUTE))
        substitution = builder.select(fresh, first_is_substitution, second_is)
        substitutes, removes = builder.and_(edits, substitution), builder.and_(edits, builder.not_(substitution))
        then = builder.select(substitution, constant(THEN_REMOVE), constant(THEN_SUBSTITUTE))
        then = builder.select(builder.and_(begins, has_bit(word, 2)), then, constant(0))
        save_state(builder.add(used, builder.zext(edits, w.ints)), USED)
        save_state(builder.sub(rounds, builder.zext(begins, w.ints)), ROUNDS)
        save_state(then, PENDING)
        save_state(builder.sub(length, builder.zext(removes, w.ints)), LENGTH)

        bits = w.constant(PLACE_BITS, w.longs)
        drawn = builder.zext(builder.lshr(word, constant(2)), w.longs)
        product = builder.mul(drawn, builder.zext(length, w.longs))
        place = builder.add(builder.trunc(builder.lshr(product, bits), w.ints), constant(1))
        remainder = builder.and_(product, w.constant((1 << PLACE_BITS) - 1, w.longs))
        letter = builder.lshr(builder.mul(remainder, w.splat(size)), bits)
        for target, lanes in ((removed, removes), (substituted, substitutes)):
            chosen = builder.select(lanes, place, constant(-1))
            w.store(chosen if place_type == w.ints else builder.trunc(chosen, place_type), target)
        w.store(builder.trunc(letter, w.bytes), letters)

    signature = types.void(state, words, types.uint32, types.uint64, removed, substituted, letters)
    return signature, vector_code(body, LANES)


@njit(nogil=True)
def look_up(letters, extra, alphabet):
    """Turn indices of letters into ids. Unless `extra` (uint32 [LANES]) is empty, draw the indices from it first."""
    size = uint64(alphabet.shape[0])
    for lane in range(uint64(extra.shape[0])):
        letters[lane] = ((uint64(extra[lane]) >> uint64(2)) * size) >> uint64(PLACE_BITS)
    for lane in range(uint64(LANES)):
        letters[lane] = alphabet[letters[lane]]


@intrinsic
def edit_columns(_context, source, target, width, removed, substituted, letters):
    """Apply one edit in every lane.

    `removed` and `substituted` hold a place, or the greatest number of their dtype for none. The same loop in plain
    Numba is not vectorised and takes 30 times as long (AMD EPYC Turin, 2026-11-23: 18 ns per row against 0.6).
    """
    place = ir.IntType(removed.dtype.bitwidth)
    places = ir.VectorType(place, LANES)

    def body(w, source, target, width, removed, substituted, letters):
        removed, substituted = w.load(removed, kind=places), w.load(substituted, kind=places)
        letter = w.load(letters, kind=w.bytes)
        with w.loop(width) as column:
            here = w.at(source, (column, LANES))
            at = w.splat(w.builder.trunc(column, place))
            right = w.load(here, LANES, kind=w.bytes)
            from_right = w.compare(">=", at, removed, signed=False)
            kept = w.builder.select(from_right, right, w.load(here, kind=w.bytes))
            kept = w.builder.select(w.compare("==", at, substituted), letter, kept)
            w.store(kept, target, (column, LANES))

    return types.void(source, target, types.uint64, removed, substituted, letters), vector_code(body, LANES)
