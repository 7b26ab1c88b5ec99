"""The settings of the task, validated when a config is created."""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import yaml

__all__ = ["MAX_TEXT_LENGTH", "Config", "check_text"]

MAX_TEXT_LENGTH = 65_536
"""Characters. Each row edits a copy of the text, so a text of 100 MB would take hours; it is rejected at once."""

LEAST = {"dataset_size": 0, "max_modifications": 0, "max_letter_count": 2, "batch_size": 1, "workers": 0}


def check_text(text: object) -> None:
    """Reject a text that is not a str or is too long.

    Raises:
        TypeError: `text` is not a str.
        ValueError: `text` is longer than `MAX_TEXT_LENGTH`.
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a str, not {type(text).__name__}")
    if len(text) > MAX_TEXT_LENGTH:
        raise ValueError(f"text has {len(text):,} characters; at most {MAX_TEXT_LENGTH:,} are accepted")


@dataclass(frozen=True)
class Config:
    """The size of the dataset, its misspellings, and how its rows are served.

    Attributes:
        dataset_size: Rows, at least 0.
        max_modifications: The budget of changes per row, at least 0. It is inclusive: a row can have one more change.
        max_letter_count: Ids per row including `<BEG>` and `<END>`, at least 2; longer rows are truncated.
        batch_size: Rows per batch, at least 1.
        workers: Worker processes that serve batches, at least 0; with 0 the calling process serves them.

    Raises:
        TypeError: A value is not an int (a bool is not accepted).
        ValueError: A value is below its minimum.
    """

    dataset_size: int = 1_200_000
    max_modifications: int = 10
    max_letter_count: int = 64
    batch_size: int = 32
    workers: int = 4

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            value: object = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                kind = type(value).__name__
                raise TypeError(f"{name} must be an int of at least {least}, not {value!r} ({kind})")
            if value < least:
                raise ValueError(f"{name} must be an int of at least {least}, not {value}")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Create a config from keys and values; a missing key keeps its default.

        Raises:
            TypeError: A value, or `mapping` itself, has the wrong type.
            ValueError: A key is unknown or a value is out of range.
        """
        if not isinstance(mapping, Mapping):
            raise TypeError(f"a config must be a mapping of keys to values, not {type(mapping).__name__}")
        known = [field.name for field in fields(cls)]
        for key in mapping:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise ValueError(f"unknown key {key!r} = {mapping[key]!r}; {hint}Accepted keys: {', '.join(known)}")
        return cls(**mapping)

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read a config from a `.yaml`, `.yml` or `.toml` file. Every error names the file.

        Raises:
            OSError: The file cannot be read.
            TypeError: A value has the wrong type.
            ValueError: The suffix is unknown, the file does not parse, a key is unknown or a value is out of range.
        """
        path = Path(path)
        if path.suffix not in {".yaml", ".yml", ".toml"}:
            raise ValueError(f"{path}: a config file ends in .yaml, .yml or .toml")
        try:
            content = path.read_text(encoding="utf-8")
            # yaml.safe_load returns None for an empty file. Like an empty TOML file, it means the defaults.
            mapping = tomllib.loads(content) if path.suffix == ".toml" else (yaml.safe_load(content) or {})
        except (UnicodeDecodeError, tomllib.TOMLDecodeError, yaml.YAMLError) as error:
            raise ValueError(f"{path}: not a valid {path.suffix[1:].upper()} file: {error}") from error
        try:
            return cls.from_mapping(mapping)
        except TypeError as error:
            raise TypeError(f"{path}: {error}") from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
