"""The state of a group of rows, one row per lane, as the compiled functions share it."""

__all__ = [
    "ACTIVE",
    "COUNT_BITS",
    "LANES",
    "LENGTH",
    "METHODS",
    "MODIFY",
    "MODIFY_SHUFFLE",
    "NARROW",
    "PENDING",
    "PLACE_BITS",
    "ROUNDS",
    "SHUFFLE",
    "SHUFFLED",
    "SHUFFLE_MODIFY",
    "THEN_REMOVE",
    "THEN_SUBSTITUTE",
    "USED",
]

LANES = 64
"""Rows of a group."""
COUNT_BITS = 29
"""Of a row's first word, 2 bits choose the methods, 1 bit is the label, and these choose the number of rounds."""
PLACE_BITS = 30
"""Bits of a word that choose the place of an edit."""

# The methods of a row, as the two highest bits of its first word encode them.
MODIFY, SHUFFLE, MODIFY_SHUFFLE, SHUFFLE_MODIFY = range(4)
# Rows of the state array, uint32 [SHUFFLED + 1, LANES].
METHODS, USED, ROUNDS, PENDING, LENGTH, ACTIVE, SHUFFLED = range(7)
# PENDING holds 0, or what the second half of a round does.
THEN_REMOVE, THEN_SUBSTITUTE = 1, 2

NARROW = 253
"""Longest text whose places, counted from 1, fit a uint8 beside the value that means none."""
