"""The vocabulary of characters and their ids, and the cleaning that every text goes through first."""

from .config import check_text

__all__ = ["BEG", "END", "PAD", "UNK", "VOCABULARY", "clean"]

SPECIAL_TOKENS = ("<PAD>", "<BEG>", "<END>", "<UNK>")
CHARACTERS = "1234567890:;&'()+-./, ABCDEFGHIJKLMNOPQRSTUVWXYZẞabcdefghijklmnopqrstuvwxyzß"

VOCABULARY: tuple[str, ...] = (*SPECIAL_TOKENS, *CHARACTERS)
"""All tokens; the index of a token is its id."""

PAD, BEG, END, UNK = range(len(SPECIAL_TOKENS))


def clean(text: str) -> str:
    """Drop characters outside the vocabulary, lower-case, strip, and drop commas. Every variant starts with this.

    Raises:
        TypeError: `text` is not a str.
        ValueError: `text` is longer than `config.MAX_TEXT_LENGTH`.
    """
    check_text(text)
    known = "".join(character for character in text if character in CHARACTERS)
    return known.lower().strip().replace(",", "")
