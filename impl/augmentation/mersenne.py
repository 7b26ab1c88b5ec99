"""The baseline's draws and edits, compiled: the core of `exact`.

A generator is one uint32 array: the words to draw (624, and LOOKAHEAD of the next 624), the state that they are made
from (624), and how many of the words have been drawn.

How many words a draw consumes depends on their values: CPython draws until a word is below the bound, and three of four
rounds of `modify_characters` have no effect. Word by word, that is a branch that a processor mispredicts some 30 times
per row. So a vector compares the next 8 words, or 16 pairs of words, with the bound, and counting zeros gives the place
of the first that fits.
"""

from collections.abc import Iterable

import numpy as np
from numba import float64, int64, njit, types, uint32, uint64
from numba.extending import intrinsic
from numpy.typing import NDArray

from ..shared.kept import kept
from ..shared.vectors import borrowed, vector_code
from .vocabulary import BEG, END, VOCABULARY

__all__ = ["DRAWN", "STATE", "fill_labels", "generator_from", "hand_back", "misspell_rows"]

WORDS = 624
SHIFT = 397
LOOKAHEAD = 64
FIRST = WORDS + LOOKAHEAD
STATE = slice(FIRST, FIRST + WORDS)
DRAWN = FIRST + WORDS

AT_ONCE = 8
"""Words that one vector looks at. Twice as many cost a few per cent, because the vector takes longer."""
PAIRS = 16
"""Pairs of words that one vector looks at. Half or twice as many make no difference."""

SPACE = VOCABULARY.index(" ")
MODIFY = 0


def generator_from(state: Iterable[int], drawn: int) -> NDArray[np.uint32]:
    """Continue a Mersenne Twister (M. Matsumoto and T. Nishimura, 1998) from its 624 words of state.

    Args:
        state: The words.
        drawn: How many of the 624 random words made from them have been drawn.
    """
    generator = np.empty(DRAWN + 1, dtype=np.uint32)
    generator[STATE] = list(state)
    generator[DRAWN] = drawn
    temper(generator)
    return generator


@intrinsic
def first_below(_context, words, place, shift, bound):
    """Count the words from `place` on before the first with word >> shift < bound; AT_ONCE if there is none."""

    def body(w, words, place, shift, bound):
        drawn = w.builder.lshr(w.load(words, place, kind=w.ints), w.splat(shift))
        return w.first_lane(w.compare("<", drawn, w.splat(bound), signed=False))

    return types.uint64(words, types.uint64, types.uint32, types.uint32), vector_code(body, AT_ONCE)


@intrinsic
def first_pair_at_most(_context, words, place, bound):
    """Count the pairs of words from `place` on before the first whose 53 bits are <= bound; PAIRS if there is none."""

    def body(w, words, place, bound):
        pair = w.load(words, place, kind=w.longs)
        # The first word is the low half: its 27 highest bits go above the 26 highest bits of the second.
        high = w.builder.shl(w.builder.and_(pair, w.constant(0xFFFFFFE0, w.longs)), w.constant(21, w.longs))
        bits = w.builder.or_(high, w.builder.lshr(pair, w.constant(38, w.longs)))
        return w.first_lane(w.compare("<=", bits, w.splat(bound), signed=False))

    return types.uint64(words, types.uint64, types.uint64), vector_code(body, PAIRS)


@njit(nogil=True)
def tempered(word):
    """Return a word of state as it is drawn."""
    word ^= word >> uint64(11)
    word ^= (word << uint64(7)) & uint64(0x9D2C5680)
    word ^= (word << uint64(15)) & uint64(0xEFC60000)
    return uint32(word ^ (word >> uint64(18)))


@njit(nogil=True)
def twisted(generator, k, following, source):
    """Return what comes after word k of the state."""
    pair = (uint64(generator[k]) & uint64(0x80000000)) | (uint64(generator[following]) & uint64(0x7FFFFFFF))
    return uint64(generator[source]) ^ (pair >> uint64(1)) ^ ((pair & uint64(1)) * uint64(0x9908B0DF))


@kept(nogil=True)
def temper(generator):
    """Make the words of the state, and the first of those that follow, ready to be drawn."""
    for k in range(WORDS):
        generator[k] = tempered(uint64(generator[FIRST + k]))
    for k in range(FIRST, FIRST + LOOKAHEAD):
        generator[k - LOOKAHEAD] = tempered(twisted(generator, k, k + 1, k + SHIFT))


@njit(nogil=True)
def renew(generator):
    """Go on to the next 624 words."""
    for k in range(FIRST, FIRST + WORDS - SHIFT):
        generator[k] = uint32(twisted(generator, k, k + 1, k + SHIFT))
    for k in range(FIRST + WORDS - SHIFT, FIRST + WORDS - 1):
        generator[k] = uint32(twisted(generator, k, k + 1, k + SHIFT - WORDS))
    last = FIRST + WORDS - 1
    generator[last] = uint32(twisted(generator, last, FIRST, FIRST + SHIFT - 1))
    temper(generator)
    generator[DRAWN] -= uint32(WORDS)


@njit(nogil=True)
def draw_below(generator, bits, bound):
    """Return what `random.Random._randbelow(bound)` returns: `bits`, as many as `bound` has, drawn until below it."""
    shift = uint32(32 - bits)
    while True:
        if generator[DRAWN] >= WORDS:
            renew(generator)
        place = uint64(generator[DRAWN])
        passed = first_below(generator, place, shift, uint32(bound))
        if passed < AT_ONCE:
            generator[DRAWN] = uint32(place + passed + uint64(1))
            return int64(generator[place + passed] >> shift)
        generator[DRAWN] = uint32(place + uint64(AT_ONCE))


@njit(nogil=True)
def bit_length(number):
    """Return how many bits `number` has."""
    bits = 0
    while number >> bits:
        bits += 1
    return bits


@njit(nogil=True)
def draw_masked(generator, greatest):
    """Return what `numpy.random.shuffle` draws: the lowest bits of words, until one is not above `greatest`."""
    mask = uint32((1 << bit_length(greatest)) - 1)
    while True:
        if generator[DRAWN] >= WORDS:
            renew(generator)
        number = generator[generator[DRAWN]] & mask
        generator[DRAWN] += uint32(1)
        if number <= greatest:
            return int64(number)


@njit(nogil=True)
def pass_by(generator, rounds, chance):
    """Call `random.random` until it returns at most `chance` * 2**-53, or `rounds` times; return the calls left over.

    -1 means that no call found it.
    """
    while True:
        if generator[DRAWN] >= WORDS:
            renew(generator)
        place = uint64(generator[DRAWN])
        # At the very end of the words the pairs reach beyond those looked ahead at.
        known = (uint64(FIRST) - place) // uint64(2)
        passed = min(first_pair_at_most(generator, place, chance), known)
        if passed >= uint64(rounds):
            generator[DRAWN] = uint32(place + uint64(2 * rounds))
            return -1
        found = passed < min(uint64(PAIRS), known)
        passed += uint64(found)
        generator[DRAWN] = uint32(place + uint64(2) * passed)
        rounds -= int64(passed)
        if found:
            return rounds


@njit(nogil=True)
def draw_sample(generator, size):
    """Return what `random.sample` puts first of two things when it takes `size` of them; the second is the other."""
    first = draw_below(generator, 2, 2) if size > 0 else 0
    if size > 1:
        draw_below(generator, 1, 1)
    return first


@njit(nogil=True)
def modify_characters(row, length, used, budget, letters, chance, generator):
    """Remove and substitute; return the new length and the budget used."""
    rounds = length
    bits = bit_length(length)
    letter_bits = bit_length(letters.shape[0])
    while True:
        rounds = pass_by(generator, rounds, chance)
        if rounds < 0:
            return length, used
        size = draw_below(generator, 2, 3)
        substitutes = draw_sample(generator, size)
        for _ in range(size):
            if used == budget:
                break
            if length == 0:
                return length, used
            place = draw_below(generator, bits, length)
            used += 1
            if substitutes:
                row[place] = letters[draw_below(generator, letter_bits, letters.shape[0])]
            else:
                length -= 1
                bits -= length < 1 << (bits - 1)
                for k in range(uint64(place), uint64(length)):
                    row[k] = row[k + uint64(1)]
            substitutes = 1 - substitutes


@njit(nogil=True)
def shuffle_words(row, length, copy, starts, order, generator):
    """Put the words of a row in a random order."""
    spaces = 0
    starts[0] = 0
    order[0] = 0
    for k in range(length):
        copy[k] = row[k]
        if row[k] == SPACE:
            spaces += 1
            starts[spaces] = k + 1
            order[spaces] = spaces
    starts[spaces + 1] = length + 1
    for last in range(spaces, 0, -1):
        chosen = draw_masked(generator, last)
        order[last], order[chosen] = order[chosen], order[last]
    end = 0
    for rank in range(spaces + 1):
        for k in range(starts[order[rank]], starts[order[rank] + 1] - 1):
            row[end] = copy[k]
            end += 1
        if end < length:
            row[end] = SPACE
            end += 1


@njit(nogil=True)
def same(row, text):
    """Whether a row of the text's length is the text."""
    for k in range(text.shape[0]):
        if row[k] != text[k]:
            return False
    return True


@kept(nogil=True)
def misspell_rows(text, budget, letters, probability, characters, words, tokens, row, copy, starts, order):
    """Fill `tokens` (uint8 [N, L], padding already there).

    `characters` and `words` are the generators that the description draws from for one and the other; the last four
    arguments are scratch memory for one row.
    """
    characters, words, tokens = borrowed(characters), borrowed(words), borrowed(tokens)
    text, letters, row, copy = borrowed(text), borrowed(letters), borrowed(row), borrowed(copy)
    starts, order = borrowed(starts), borrowed(order)
    n = text.shape[0]
    width = tokens.shape[1]
    has_words = np.any(text == SPACE)
    chance = uint64(float64(probability) * 2.0**53)
    for target in range(tokens.shape[0]):
        methods = 1 + draw_below(characters, 2, 2)
        first = draw_sample(characters, methods)
        used = 0
        again = True
        while again:
            length = n
            for k in range(uint64(n)):
                row[k] = text[k]
            for turn in range(methods):
                if used == budget:
                    break
                if first ^ turn == MODIFY:
                    length, used = modify_characters(row, length, used, budget, letters, chance, characters)
                else:
                    if has_words:
                        shuffle_words(row, length, copy, starts, order, words)
                    used += 1
            again = length == n and n > 0 and used < budget and same(row, text)
        tokens[target, 0] = BEG
        for k in range(uint64(min(length, width - 1))):
            tokens[target, uint64(1) + k] = row[k]
        if length < width - 1:
            tokens[target, 1 + length] = END


@kept(nogil=True)
def fill_labels(generator, labels):
    """Fill `labels` (uint8 [N])."""
    generator, labels = borrowed(generator), borrowed(labels)
    for k in range(labels.shape[0]):
        labels[k] = draw_below(generator, 2, 2)


@kept(nogil=True)
def hand_back(generator):
    """Leave the generator as CPython and NumPy do: its words are renewed when the next is drawn, and not before."""
    if generator[DRAWN] > WORDS:
        renew(generator)
