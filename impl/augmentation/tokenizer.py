"""Converts texts to rows of token ids and back."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .config import Config
from .vocabulary import BEG, END, PAD, SPECIAL_TOKENS, UNK, VOCABULARY

__all__ = ["Tokenizer"]

CODE_POINTS = [ord(token) for token in VOCABULARY[len(SPECIAL_TOKENS) :]]
# The id of each code point. Code points above the vocabulary's highest are clamped to the last entry, `<UNK>`.
LOOKUP = np.full(max(CODE_POINTS) + 2, UNK, dtype=np.uint8)
LOOKUP[CODE_POINTS] = np.arange(len(SPECIAL_TOKENS), len(VOCABULARY), dtype=np.uint8)

# Characters that encode_batch converts at a time, as 32-bit code points: 4 MiB, which fits in the cache.
CHUNK = 2**20


class Tokenizer:
    """Encodes `<BEG>` + characters + `<END>`, padded with `<PAD>` or truncated to `max_letter_count` ids.

    Attributes:
        max_letter_count: Ids per row, at least 2.
        vocab: Maps each token, including the special ones, to its id.

    Raises:
        TypeError: `max_letter_count` is not an int.
        ValueError: `max_letter_count` is less than 2.
    """

    def __init__(self, max_letter_count: int) -> None:
        self.max_letter_count = Config(max_letter_count=max_letter_count).max_letter_count
        self.vocab: dict[str, int] = {token: index for index, token in enumerate(VOCABULARY)}

    def encode(self, text: str) -> list[int]:
        """Return the `max_letter_count` ids of one text; a character outside the vocabulary becomes `<UNK>`."""
        ids = [BEG, *(self.vocab.get(character, UNK) for character in text), END]
        ids += [PAD] * (self.max_letter_count - len(ids))
        return ids[: self.max_letter_count]

    def encode_batch(self, texts: Sequence[str]) -> NDArray[np.uint8]:
        """Return `encode` of each text as one uint8 array [len(texts), max_letter_count].

        NumPy copies the texts into one array of code points, and a lookup table converts those to ids, without a Python
        loop over characters. 21 times as fast as `encode` in a loop (100,000 misspelled default texts, AMD EPYC Turin
        (Zen 5), 2 cores, Python 3.11, 2026-11-23).
        """
        rows = np.zeros((len(texts), self.max_letter_count), dtype=np.uint8)
        step = max(1, CHUNK // self.max_letter_count)
        for start in range(0, len(texts), step):
            self._encode_into(texts[start : start + step], rows[start : start + step])
        return rows

    def _encode_into(self, texts: Sequence[str], rows: NDArray[np.uint8]) -> None:
        width = self.max_letter_count - 1
        lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        points = np.array(texts, dtype=f"U{width}").view(np.uint32).reshape(len(texts), width)
        ids = LOOKUP[np.minimum(points, len(LOOKUP) - 1)]
        # NumPy pads with NUL, but a text can contain NUL too (it becomes <UNK>): only the lengths show where texts end.
        ids[np.arange(width) >= lengths[:, None]] = PAD
        rows[:, 0] = BEG
        rows[:, 1:] = ids
        ended = np.flatnonzero(lengths < width)
        rows[ended, lengths[ended] + 1] = END

    def decode(self, ids: Iterable[Any], *, skip_special_tokens: bool = True) -> str:
        """Return the text of one row of ids, given as ints, a NumPy row, or a float32 row of the dataset.

        Raises:
            ValueError: An id is not in the vocabulary.
        """
        tokens = []
        for index in map(int, ids):
            if not 0 <= index < len(VOCABULARY):
                raise ValueError(f"id {index} is not in the vocabulary (0 to {len(VOCABULARY) - 1})")
            if not (skip_special_tokens and index < len(SPECIAL_TOKENS)):
                tokens.append(VOCABULARY[index])
        return "".join(tokens)

    def save(self, path: str | Path) -> None:
        """Write the tokenizer as JSON."""
        content = {"max_letter_count": self.max_letter_count, "vocabulary": VOCABULARY}
        Path(path).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a tokenizer that `save` wrote.

        Raises:
            OSError: The file cannot be read.
            ValueError: The file is damaged, or was saved with a different vocabulary.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:  # not UTF-8, or not JSON
            raise ValueError(f"{path}: not a tokenizer file: {error}") from error
        if not isinstance(content, dict) or content.keys() != {"max_letter_count", "vocabulary"}:
            raise ValueError(f"{path}: not a tokenizer file: it must hold max_letter_count and vocabulary")
        if content["vocabulary"] != list(VOCABULARY):
            raise ValueError(f"{path}: written for another vocabulary")
        try:
            return cls(content["max_letter_count"])
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: not a tokenizer file: {error}") from error
