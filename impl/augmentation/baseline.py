"""A direct implementation of the task's description, one row at a time.

It keeps two quirks of the description:

- The budget is inclusive. The test before a change is `used <= max_modifications`, so a row has up to
  max_modifications + 1 changes.
- A text that has become empty raises IndexError at its next edit, because `random.choice` has no position to choose
  from. This happens only if the text is a few characters long and the budget is at least as large.

Every other variant is checked against this one. It takes about 25 µs per row of the default text (AMD EPYC Turin
(Zen 5), 2 cores, Python 3.11, 2026-11-23), nearly all of it in `misspell`.
"""

import random
import string

import numpy as np

from .config import Config
from .dataset import Dataset
from .progress import progress
from .tokenizer import Tokenizer
from .vocabulary import clean

__all__ = ["build", "misspell"]

CHANGE_PROBABILITY = 0.2
LETTERS = string.ascii_letters


def build(text: str, config: Config, seed: int = 7) -> Dataset:
    """Make `config.dataset_size` misspelled copies of `text`, with their labels and rows of token ids.

    Seeds and uses the global generators of `random` and `numpy.random`.

    Raises:
        TypeError: `text` is not a str.
        ValueError: `text` is too long.
        IndexError: A copy became empty before its edits were done.
    """
    text = clean(text)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the description uses NumPy's global legacy generator
    size = config.dataset_size
    texts = [misspell(text, config.max_modifications) for _ in progress(range(size), size)]
    labels = [random.randint(0, 1) for _ in range(size)]
    tokenizer = Tokenizer(config.max_letter_count)
    rows = [tokenizer.encode(copy) for copy in progress(texts, size)]
    tokens = np.array(rows, dtype=np.uint8).reshape(size, config.max_letter_count)
    return Dataset(tokens, np.array(labels, dtype=np.uint8))


def misspell(text: str, max_modifications: int) -> str:
    """Return one misspelled copy of `text`.

    Raises:
        IndexError: The copy became empty before its edits were done.
    """
    text = text.strip()
    chosen = random.sample([modify_characters, shuffle_words], k=random.randint(1, 2))
    used = 0
    while True:
        copy = text
        for method in chosen:
            if used <= max_modifications:
                copy, used = method(copy, used, max_modifications)
        if copy != text or used > max_modifications or not text:
            return copy


def modify_characters(text: str, used: int, max_modifications: int) -> tuple[str, int]:
    """Remove and substitute characters; return the new text and the budget used."""
    for _ in range(len(text)):
        if random.random() <= CHANGE_PROBABILITY:
            edits = random.sample([remove, substitute], k=random.randint(0, 2))
            for edit in edits:
                if used > max_modifications:
                    break
                position = random.choice(range(len(text)))
                used += 1
                text = edit(text, position)
    return text, used


def remove(text: str, position: int) -> str:
    """Return `text` without the character at `position`."""
    return text[:position] + text[position + 1 :]


def substitute(text: str, position: int) -> str:
    """Return `text` with a random letter at `position`, which may equal the old one."""
    return text[:position] + random.choice(LETTERS) + text[position + 1 :]


def shuffle_words(text: str, used: int, _max_modifications: int) -> tuple[str, int]:
    """Shuffle the words. This uses one change of the budget even if the order does not change."""
    words = text.split(" ")
    np.random.shuffle(words)  # noqa: NPY002 - the description uses NumPy's global legacy generator
    return " ".join(words), used + 1
