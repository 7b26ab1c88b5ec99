"""Strict notations of what clients send, and how much of it an error repeats.

Python reads more than the formats allow: `NaN` and duplicate keys in JSON, `1_000` and `infinity` as numbers. What two
programs would read differently is refused. Nothing here takes more time or memory than a small multiple of its input.
"""

import json
import math
import re
from typing import Any, Never

from .errors import ServingError

__all__ = ["json_of", "number_of", "shown"]

ECHO = 200  # characters of a client's own text in an error
NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)  # as JSON writes it
STRINGS = 1_000  # in one text of JSON: keys, names and types; images are numbers


def shown(value: object) -> str:
    """Return a value as an error may repeat it: on one line, and cut to 200 characters."""
    text = value if isinstance(value, str) else repr(value)
    text = text if text.isprintable() else repr(text[: ECHO + 1])
    return text if len(text) <= ECHO else f"{text[: ECHO - 1]}…"


def number_of(text: str) -> float:
    """Return a number written as in JSON; NaN for any other text, and for a number beyond the range of a float."""
    value = float(text) if len(text) <= ECHO and NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else math.nan


def json_of(text: bytes, name: str, values: int) -> Any:
    """Return the value of a text in JSON, in UTF-8.

    Args:
        text: The text.
        name: What it is, for the messages.
        values: The most values that it may hold. Python needs up to 90 bytes for the two of `[],`, so the number is
            limited before anything is parsed.

    Raises:
        ServingError: 400, it is not JSON; 413, it holds too many values; 422, too many strings.
    """
    lists = text.count(b"[") + text.count(b"{")
    if text.count(b",") > values + STRINGS or lists > values // 3 + STRINGS:
        raise ServingError(413, f"{name} has more than {values:,} values in JSON: send fewer, or a binary tensor")
    if text.count(b'"') > 2 * STRINGS:
        raise ServingError(422, f"{name} has more than {STRINGS:,} strings in JSON: images are numbers")
    try:
        return DECODER.decode(text.decode("utf-8"))
    except RecursionError as error:
        raise ServingError(400, f"{name} is not JSON that can be read: it is nested too deeply") from error
    except ValueError as error:
        raise ServingError(400, f"{name} is not JSON: {shown(str(error))}") from error


def _constant(name: str) -> Never:
    raise ValueError(f"{name} is no number in JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has the same key twice")
    return members


DECODER = json.JSONDecoder(parse_constant=_constant, object_pairs_hook=_object)
