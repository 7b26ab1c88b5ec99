"""What a tree declares of its dependencies: its lock files, and a few parts of pyproject.toml."""

import hashlib
import json
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

PYPROJECT = "pyproject.toml"
PARTS = (
    ("project", "requires-python"),
    ("project", "dependencies"),
    ("project", "optional-dependencies"),
    ("dependency-groups",),
)
# The lock files of the usual tools, where the ini option does not name the files. They lie at the root.
LOCKS = (
    "uv.lock",
    "pylock*.toml",
    "poetry.lock",
    "pdm.lock",
    "Pipfile.lock",
    "requirements*.lock",
    "requirements*.txt",
)

Read = Callable[[str], bytes]


class DependenciesError(Exception):
    """The dependencies of a tree are unknown; the message says why."""


@dataclass(frozen=True)
class Declared:
    """What one tree declares.

    Attributes:
        locks: the content of each lock file, with line ends as git keeps them.
        parts: those parts of pyproject.toml that it has, by their names.
        settings: of uv, which change what an installation is made of and are no dependencies.
    """

    locks: Mapping[str, bytes]
    parts: Mapping[str, Any]
    settings: Any = None

    @classmethod
    def of(cls, files: Collection[str], read: Read, patterns: Sequence[str]) -> "Declared":
        """Read a tree.

        Args:
            files: all that it has, relative to its root and with slashes.
            read: returns the content of one of them.
            patterns: of the lock files, see `matching`.

        Raises:
            DependenciesError: pyproject.toml cannot be parsed.
        """
        locks = {name: _unix(read(name)) for name in matching(files, patterns)}
        try:
            project = tomllib.loads(read(PYPROJECT).decode()) if PYPROJECT in files else {}
        except ValueError as error:
            raise DependenciesError(f"{PYPROJECT} cannot be read: {error}") from error
        found = {".".join(part): _in_any_order(_part(project, part)) for part in PARTS}
        settings = [_part(project, ("tool", "uv")), read("uv.toml").decode() if "uv.toml" in files else None]
        return cls(locks, {name: part for name, part in found.items() if part is not None}, settings)

    def differences(self, other: "Declared") -> tuple[str, ...]:
        """Return what differs: the names of files, and of parts of pyproject.toml."""
        locks = [name for name in sorted({*self.locks, *other.locks}) if self.locks.get(name) != other.locks.get(name)]
        parts = [name for name in {**self.parts, **other.parts} if self.parts.get(name) != other.parts.get(name)]
        return (*locks, *(f"{name} in {PYPROJECT}" for name in parts))

    def digest(self) -> str:
        """Return a digest of all of it."""
        locks = {name: hashlib.sha256(content).hexdigest() for name, content in self.locks.items()}
        text = json.dumps([locks, self.parts, self.settings], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def named_files(arguments: Sequence[str], files: Collection[str]) -> list[str]:
    """Return those arguments of a command (`-c requirements.lock`, `--requirement=a.txt`) that are a tree's files."""
    words = [word.rpartition("=")[2].removeprefix("./") for word in arguments]
    return [word for word in words if word in files and word != PYPROJECT]


def matching(files: Collection[str], patterns: Sequence[str]) -> list[str]:
    """Return the files that fit a pattern, in which `*` does not match a slash."""
    return [
        name
        for name in sorted(files)
        if any(name.count("/") == pattern.count("/") and fnmatchcase(name, pattern) for pattern in patterns)
    ]


def _unix(content: bytes) -> bytes:
    """Return a text as git keeps it: a working tree may have other line ends."""
    return content.replace(b"\r\n", b"\n")


def _part(document: Any, path: Sequence[str]) -> Any:
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _in_any_order(value: Any) -> Any:
    """Return a value with its lists sorted: the order of requirements means nothing."""
    if isinstance(value, dict):
        return {key: _in_any_order(part) for key, part in value.items()}
    if isinstance(value, list):
        return sorted((_in_any_order(part) for part in value), key=lambda part: json.dumps(part, default=str))
    return value
