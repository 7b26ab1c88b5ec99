"""Philox4x32-10, the counter-based random numbers of `optimised`.

J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011. The counter is (row, row >> 32, block, pass) and
the key is the seed. So the random words of a row depend on (seed, row number) and on nothing else.
"""

from numba import njit, uint32, uint64

from .lanes import LANES

__all__ = ["draw_words", "philox4x32"]


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


@njit(nogil=True)
def draw_words(words, first, turn, k0, k1):
    """Fill `words`, uint32 [blocks, 4, LANES], with the random words of the rows `first`, `first` + 1, ..."""
    for block in range(uint64(words.shape[0])):
        four = words[block]
        for lane in range(uint64(LANES)):
            row = uint64(first + lane)
            a, b, c, d = philox4x32(uint32(row), uint32(row >> uint64(32)), uint32(block), turn, k0, k1)
            four[0, lane] = a
            four[1, lane] = b
            four[2, lane] = c
            four[3, lane] = d
