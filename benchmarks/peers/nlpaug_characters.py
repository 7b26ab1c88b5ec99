"""Misspelling with nlpaug: it substitutes up to ten characters of each text, and does not tokenise."""

from functools import partial

import pytest

from .ways import Ways

__all__ = ["ways"]


def ways(text: str, rows: int) -> Ways:
    """Return its one way to misspell `rows` copies: a list of texts on one thread."""
    char = pytest.importorskip("nlpaug.augmenter.char")
    augmenter = char.RandomCharAug(action="substitute")
    return {"a list on 1 thread": partial(augmenter.augment, [text] * rows, n=1, num_thread=1)}
