"""Sixty-four rows at a time, one in each lane of a vector: the compiled heart of `optimised`.

A group of 64 rows lies in memory as columns: `columns[j, lane]` is the id at place j of row `lane`. An edit of 64 rows,
each at a place of its own, is then one pass over the columns in which a lane keeps its id, takes its right neighbour's
(a removal) or takes a letter (a substitution), and no lane waits for another. `<END>` and the padding lie in the
columns like the text, so a removal moves them as well and no row is measured or padded afterwards. At the end the
columns are turned into rows.

What is drawn is the baseline's distribution with fewer draws. In a round of `modify_characters` the text has a chance
of 0.2, and one in three of those does nothing; so of n rounds Binomial(n, 2/15) do something, and each of these is one
of four equally likely things: remove, substitute, remove and substitute, substitute and remove. One draw gives the
number of rounds, from a table, and each edit takes one 32-bit word: two bits for what is done in its round, thirty for
the place by multiply-shift (D. Lemire, "Fast random integer generation in an interval", 2019, without the rejection:
an outcome's probability is off by a factor of at most 1 + length / 2**30), and the letter from what the multiplication
leaves over. Texts beyond 253 characters take the letter from a word of its own, because little is left over there.

Random words come from Philox4x32-10 (J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) with the
counter (row, row >> 32, block, pass) and the seed as the key: a row depends on (seed, row number) and on nothing else.

Numba notices changes in the module of a cached function only, so everything the kernel calls is in this one.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import int64, njit, types, uint32, uint64
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from ..shared.vectors import borrowed
from .vocabulary import BEG, END, PAD, VOCABULARY

__all__ = ["COUNT_BITS", "LANES", "NARROW", "Plan", "fill_rows", "make_scratch", "philox4x32"]

LANES = 64
COUNT_BITS = 29
"""Of a row's first word: 2 bits give the methods, 1 the label, these the number of rounds that do something."""

PLACE_BITS = 30

# The methods of a row, as its first word's two highest bits give them.
MODIFY, SHUFFLE, MODIFY_SHUFFLE, SHUFFLE_MODIFY = range(4)
# What is known of a row while it is edited: rows of the state array.
METHODS, USED, ROUNDS, PENDING, LENGTH, ACTIVE, SHUFFLED = range(7)
# PENDING holds 0 or what the second half of a round does.
THEN_REMOVE, THEN_SUBSTITUTE = 1, 2

NARROW = 253
"""Characters up to which a place, counted from 1, fits a uint8 beside the one that means none."""

SPACE = VOCABULARY.index(" ")
# The third word of a counter: shuffles draw from blocks that edits never reach.
SHUFFLE_BLOCKS = np.uint32(1 << 31)


class Plan(NamedTuple):
    """What is the same for every row."""

    text: NDArray[np.uint8]
    """The ids of the text, [n]."""
    has_words: bool
    """Whether the text has a space, so that a shuffle can change it."""
    budget: int
    """Changes that a row may have, at least 1."""
    rounds: NDArray[np.uint32]
    """At entry t, 2**COUNT_BITS times the probability that at most t rounds do something."""
    alphabet: NDArray[np.uint8]
    """The ids that a substitution draws from."""
    places: NDArray[np.uint8] | NDArray[np.uint32]
    """Empty; its dtype is that of a place in the text: uint8 up to NARROW characters."""


INT32 = ir.IntType(32)
BYTES = ir.VectorType(ir.IntType(8), LANES)
INTS = ir.VectorType(INT32, LANES)
LONGS = ir.VectorType(ir.IntType(64), LANES)


@njit(inline="always")
def philox4x32(c0, c1, c2, c3, k0, k1):
    """Ten rounds of Philox4x32: four uint32 words of counter and two of key to four random uint32 words."""
    for _ in range(10):
        even = uint64(c0) * uint64(0xD2511F53)
        odd = uint64(c2) * uint64(0xCD9E8D57)
        c0 = uint32(uint32(odd >> uint64(32)) ^ c1 ^ k0)
        c2 = uint32(uint32(even >> uint64(32)) ^ c3 ^ k1)
        c1 = uint32(odd)
        c3 = uint32(even)
        k0 = uint32(k0 + uint32(0x9E3779B9))
        k1 = uint32(k1 + uint32(0xBB67AE85))
    return c0, c1, c2, c3


def _vector(builder: Any, pointer: Any, kind: Any) -> Any:
    """Load a vector."""
    return builder.load(builder.bitcast(pointer, kind.as_pointer()), align=1)


def _splat(builder: Any, value: Any) -> Any:
    """Put the same value into every lane."""
    undefined = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
    one = builder.insert_element(undefined, value, ir.Constant(INT32, 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(INTS, [0] * LANES))


@intrinsic
def edit_columns(_context, source, target, width, removed, substituted, letters):
    """One edit in every lane: `removed` and `substituted` hold a place, or the greatest number of their dtype for none.

    Written as vector instructions of LLVM, which it translates to whatever the processor has. The same loop in plain
    Numba is not vectorised and takes 30 times as long (AMD EPYC Turin, 2026-11-23: 18 ns a row against 0.6).
    """
    signature = types.void(source, target, types.uint64, removed, substituted, letters)
    place = ir.IntType(removed.dtype.bitwidth)
    places = ir.VectorType(place, LANES)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, target, removed, substituted, letter = (
            context.make_array(signature.args[k])(context, builder, args[k]).data for k in (0, 1, 3, 4, 5)
        )
        removed = _vector(builder, removed, places)
        substituted = _vector(builder, substituted, places)
        letter = _vector(builder, letter, BYTES)
        index = ir.IntType(64)
        with cgutils.for_range(builder, args[2], intp=index) as loop:
            offset = builder.mul(loop.index, ir.Constant(index, LANES))
            here = builder.gep(source, [offset])
            at = _splat(builder, builder.trunc(loop.index, place))
            right = _vector(builder, builder.gep(here, [ir.Constant(index, LANES)]), BYTES)
            kept = builder.select(builder.icmp_unsigned(">=", at, removed), right, _vector(builder, here, BYTES))
            kept = builder.select(builder.icmp_unsigned("==", at, substituted), letter, kept)
            builder.store(kept, builder.bitcast(builder.gep(target, [offset]), BYTES.as_pointer()), align=1)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def weave_columns(_context, columns, woven):
    """Turn eight columns of 64 ids (uint8 [8, 64]) into 64 words of the eight ids of a row (uint64 [64])."""
    signature = types.void(columns, woven)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, target = (
            builder.bitcast(context.make_array(kind)(context, builder, value).data, BYTES.as_pointer())
            for kind, value in zip(signature.args, args, strict=True)
        )

        def half(first: int) -> Any:
            picks = [first + k // 2 + (LANES if k % 2 else 0) for k in range(LANES)]
            return ir.Constant(ir.VectorType(INT32, LANES), picks)

        def weave(left: list[Any], right: list[Any]) -> list[Any]:
            pairs = zip(left, right, strict=True)
            return [builder.shuffle_vector(a, b, half(first)) for a, b in pairs for first in (0, LANES // 2)]

        parts = [[builder.load(builder.gep(source, [ir.Constant(INT32, k)]), align=1)] for k in range(8)]
        while len(parts) > 1:
            apart = len(parts) // 2
            parts = [weave(parts[k], parts[k + apart]) for k in range(apart)]
        for k, vector in enumerate(parts[0]):
            builder.store(vector, builder.gep(target, [ir.Constant(INT32, k)]), align=1)
        return context.get_dummy_value()

    return signature, generate


@njit(nogil=True)
def draw_words(words, first, turn, k0, k1):
    """Fill uint32 [blocks, 4, LANES] with the random words of the rows from `first` on."""
    for block in range(uint64(words.shape[0])):
        four = words[block]
        for lane in range(uint64(LANES)):
            row = uint64(first + lane)
            a, b, c, d = philox4x32(uint32(row), uint32(row >> uint64(32)), uint32(block), turn, k0, k1)
            four[0, lane] = a
            four[1, lane] = b
            four[2, lane] = c
            four[3, lane] = d


@njit(nogil=True)
def draw_rounds(state, words, table):
    """Draw how many rounds do something in the rows that are active and modify characters; the others get none."""
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
    """Whether any row has more edits to come."""
    left = uint32(0)
    for lane in range(uint64(LANES)):
        left |= state[ROUNDS, lane] | state[PENDING, lane]
    return left != uint32(0)


@intrinsic
def draw_edits(_context, state, words, budget, size, removed, substituted, letters):
    """Decide the next edit of every lane from its word (uint32 [LANES]), and account for it in its state.

    `letters` gets numbers below `size`. Vector instructions for the reason given in `edit_columns`: Numba widens every
    integer to 64 bits, and the plain loop made the whole kernel a quarter slower (2026-11-23: 34 ns a row, now 26).
    """
    signature = types.void(state, words, types.uint32, types.uint64, removed, substituted, letters)
    place_type = ir.VectorType(ir.IntType(removed.dtype.bitwidth), LANES)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = [
            context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
            for kind, value in zip(signature.args, args, strict=True)
        ]
        states, words, budget, size, *targets = data

        def row(of: int) -> Any:
            return builder.bitcast(builder.gep(states, [ir.Constant(INT32, of * LANES)]), INTS.as_pointer())

        def constant(number: int, kind: Any = INTS) -> Any:
            return ir.Constant(kind, [number] * LANES)

        def has_bit(value: Any, bit: int) -> Any:
            return builder.icmp_unsigned("!=", builder.and_(value, constant(bit)), constant(0))

        def save(value: Any, target: Any) -> None:
            builder.store(value, builder.bitcast(target, value.type.as_pointer()), align=1)

        word = _vector(builder, words, INTS)
        used, rounds, pending, length = (builder.load(row(of), align=1) for of in (USED, ROUNDS, PENDING, LENGTH))
        may = builder.and_(
            builder.icmp_unsigned("<", used, _splat(builder, budget)),
            builder.and_(
                builder.icmp_unsigned("!=", length, constant(0)),
                builder.icmp_unsigned("!=", builder.or_(rounds, pending), constant(0)),
            ),
        )
        fresh = builder.icmp_unsigned("==", pending, constant(0))
        begins = builder.and_(may, fresh)
        put = builder.select(fresh, has_bit(word, 1), builder.icmp_unsigned("==", pending, constant(THEN_SUBSTITUTE)))
        substitutes, removes = builder.and_(may, put), builder.and_(may, builder.not_(put))
        then = builder.select(put, constant(THEN_REMOVE), constant(THEN_SUBSTITUTE))
        then = builder.select(builder.and_(begins, has_bit(word, 2)), then, constant(0))
        builder.store(builder.add(used, builder.zext(may, INTS)), row(USED), align=1)
        builder.store(builder.sub(rounds, builder.zext(begins, INTS)), row(ROUNDS), align=1)
        builder.store(then, row(PENDING), align=1)
        builder.store(builder.sub(length, builder.zext(removes, INTS)), row(LENGTH), align=1)

        bits = constant(PLACE_BITS, LONGS)
        drawn = builder.zext(builder.lshr(word, constant(2)), LONGS)
        product = builder.mul(drawn, builder.zext(length, LONGS))
        place = builder.add(builder.trunc(builder.lshr(product, bits), INTS), constant(1))
        left = builder.and_(product, constant((1 << PLACE_BITS) - 1, LONGS))
        letter = builder.lshr(builder.mul(left, _splat(builder, size)), bits)
        for target, here in zip(targets[:2], (removes, substitutes), strict=True):
            chosen = builder.select(here, place, constant(-1))
            save(chosen if place_type == INTS else builder.trunc(chosen, place_type), target)
        save(builder.trunc(letter, BYTES), targets[2])
        return context.get_dummy_value()

    return signature, generate


@njit(nogil=True)
def look_up(letters, extra, alphabet):
    """Turn numbers of letters into ids, after drawing them anew from `extra` (uint32 [LANES]) unless that is empty."""
    size = uint64(alphabet.shape[0])
    for lane in range(uint64(extra.shape[0])):
        letters[lane] = ((uint64(extra[lane]) >> uint64(2)) * size) >> uint64(PLACE_BITS)
    for lane in range(uint64(LANES)):
        letters[lane] = alphabet[letters[lane]]


@njit(nogil=True)
def shuffle_lane(columns, lane, length, row, turn, k0, k1, copy, starts, order, moves):
    """Put the words of one row in a random order: Fisher and Yates, as numpy.random.shuffle goes, from the end."""
    one = uint64(1)
    spaces = uint64(0)
    starts[0] = 0
    order[0] = 0
    for j in range(uint64(length)):
        letter = columns[one + j, lane]
        copy[j] = letter
        # Written at every character, and for good at a space, which saves a branch that nothing predicts.
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
    # How far each word moves, the space behind it included.
    end = int64(0)
    for rank in range(spaces + one):
        word = order[rank]
        moves[word] = end - starts[word]
        end += starts[word + 1] - starts[word]
    # Character by character and not word by word, whose lengths no branch predictor knows.
    word = uint64(0)
    copy[length] = SPACE
    for j in range(uint64(length) + one):
        columns[uint64(int64(j) + moves[word]) + one, lane] = copy[j]
        word += uint64(copy[j] == SPACE)
    columns[uint64(length) + one, lane] = END


@njit(nogil=True)
def charge_shuffles(state, method, other, budget):
    """Choose the rows that are active, have one of two methods and some budget, and charge them for a shuffle."""
    for lane in range(uint64(LANES)):
        chosen = (state[METHODS, lane] == uint32(method)) | (state[METHODS, lane] == uint32(other))
        shuffled = state[ACTIVE, lane] & uint32(chosen & (state[USED, lane] < uint32(budget)))
        state[SHUFFLED, lane] = shuffled
        state[USED, lane] += shuffled


@njit(nogil=True)
def shuffle_rows(columns, state, first, turn, k0, k1, copy, starts, order, moves):
    """Shuffle the words of the rows chosen."""
    for lane in range(uint64(LANES)):
        if state[SHUFFLED, lane]:
            length = int64(state[LENGTH, lane])
            shuffle_lane(columns, lane, length, first + lane, turn, k0, k1, copy, starts, order, moves)


@njit(nogil=True)
def find_unchanged(columns, state, text, has_words, budget):
    """Keep those rows active that are still the text and have some budget; say whether there are any."""
    n = text.shape[0]
    # Without words a shuffle alone does nothing until the budget is gone.
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
    """Columns (uint8 [8 * blocks, LANES]) to rows of words of eight ids (uint64 [at most LANES, blocks])."""
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
    """What is known of each row; [SHUFFLED + 1, LANES]."""
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
    """Where its words start; [n + 2]."""
    order: NDArray[np.int64]
    """In which order they go back; [n + 2]."""
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


@njit(nogil=True, cache=True)
def fill_rows(plan, scratch, first, k0, k1, rows, labels):
    """Compute rows `first`, `first` + 1, ... and their labels.

    `rows` is uint64 [N, words], eight ids in a word, so that a row is padded to a multiple of eight ids; `labels` is
    uint8 [N]. `k0` and `k1` are the halves of the seed. `plan` and `scratch` are a Plan and a Scratch as plain tuples:
    Numba takes two classes of one name for the same at first, and 0.1 ms a call to find out, where another revision of
    this module is loaded beside it.

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
                # The first edit reads the text and writes the columns, which saves a copy.
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
