"""Misspelling with fasttextaug: it substitutes up to ten characters of each text, and does not tokenise."""

from functools import partial

import pytest

from .ways import Ways

__all__ = ["ways"]


def ways(text: str, rows: int) -> Ways:
    """Return its ways to misspell `rows` copies: a list of texts, or one call for n copies, on 1 to 8 threads."""
    char = pytest.importorskip("fasttextaug.augmenter.char")
    augmenter = char.RandomCharAug(action="substitute")
    ways = {}
    for threads in (1, 2, 4, 8):
        ways[f"a list on {threads} threads"] = partial(augmenter.augment, [text] * rows, num_thread=threads)
        ways[f"n copies on {threads} threads"] = partial(augmenter.augment, text, n=rows, num_thread=threads)
    return ways
