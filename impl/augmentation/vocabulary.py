"""The ids of characters, and the cleaning that brings any text into them."""

from .config import check_text

__all__ = ["BEG", "END", "PAD", "UNK", "VOCABULARY", "clean"]

SPECIAL_TOKENS = ("<PAD>", "<BEG>", "<END>", "<UNK>")
CHARACTERS = "1234567890:;&'()+-./, ABCDEFGHIJKLMNOPQRSTUVWXYZẞabcdefghijklmnopqrstuvwxyzß"

VOCABULARY: tuple[str, ...] = (*SPECIAL_TOKENS, *CHARACTERS)
"""Every token; a token's place is its id."""

PAD, BEG, END, UNK = range(len(SPECIAL_TOKENS))


def clean(text: str) -> str:
    """Drop what the vocabulary lacks, lower-case, strip, and drop commas: where every variant begins.

    Raises:
        TypeError: `text` is not a str.
        ValueError: `text` is longer than `config.MAX_TEXT_LENGTH`.
    """
    check_text(text)
    known = "".join(character for character in text if character in CHARACTERS)
    return known.lower().strip().replace(",", "")
