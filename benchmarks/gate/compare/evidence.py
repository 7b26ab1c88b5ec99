"""The file of --evidence: what the duels of a comparison have measured, for a later run to continue.

A comparison is known by the commit that it is with, the files of the working tree, and the environment: interpreter and
versions of the installed packages, of both sides where each has its own. Whatever of these changes, the evidence is
another one's, and the duels begin anew. The machine is none of them: a bet that the candidate is not slower holds on
each.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..measure.evidence import Part
from .revision import RevisionError

VERSION = 1


class EvidenceError(Exception):
    """The file cannot be used; the message names it and says why."""


@dataclass(frozen=True)
class Kept:
    """What is known of one duel.

    Attributes:
        parts: that were measured.
        confirmation: verdicts of fresh processes, which are asked once; empty if they were not.
    """

    parts: tuple[Part, ...] = ()
    confirmation: tuple[str, ...] = ()


@dataclass
class Evidence:
    """One comparison's part of a file.

    Attributes:
        path: of the file.
        comparison: what it is about, in JSON types.
        duels: by the test's id and the duel's settings.
        others: the file's other comparisons, which are kept.
    """

    path: Path
    comparison: Mapping[str, Any]
    duels: dict[str, Kept] = field(default_factory=dict)
    others: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path, root: Path, commit: str, both: str | None = None) -> "Evidence":
        """Read the file; one that does not exist is empty.

        Args:
            path: of the file.
            root: a folder of the working tree.
            commit: that it is compared with.
            both: a digest of the environments of both sides; None if they share that of this process.

        Raises:
            EvidenceError: The file is something else, or damaged.
            RevisionError: git cannot describe the working tree.
        """
        tree = working_tree(root, without=path)
        comparison = {"reference": commit, "candidate": tree, "environment": both or environment()}
        evidence = cls(path, comparison)
        if not path.exists():
            return evidence
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["version"] != VERSION:
                raise EvidenceError(f"{path} has version {document['version']}, and this gate reads {VERSION}")
            for found in document["comparisons"]:
                if found["comparison"] == comparison:
                    evidence.duels = {key: _read(kept) for key, kept in found["duels"].items()}
                else:
                    evidence.others.append(found)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise EvidenceError(
                f"{path} is damaged or no file of --evidence ({type(error).__name__}: {error}). Delete it to begin anew"
            ) from error
        return evidence

    def of(self, test: str, settings: Sequence[object]) -> Kept:
        """Return what is known of one test's duel with these settings."""
        return self.duels.get(_key(test, settings), Kept())

    def keep(self, test: str, settings: Sequence[object], kept: Kept) -> None:
        """Add to the file, at once: what a run has measured outlives it."""
        self.duels[_key(test, settings)] = kept
        duels = {key: _written(kept) for key, kept in self.duels.items()}
        document = {
            "version": VERSION,
            "comparisons": [*self.others, {"comparison": self.comparison, "duels": duels}],
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_name(f"{self.path.name}.new")
        new.write_text(json.dumps(document), encoding="utf-8")
        new.replace(self.path)


def _key(test: str, settings: Sequence[object]) -> str:
    return " ".join([test, *map(str, settings)])


def _written(kept: Kept) -> dict[str, Any]:
    return {"parts": [part.to_dict() for part in kept.parts], "confirmation": kept.confirmation}


def _read(kept: Mapping[str, Any]) -> Kept:
    return Kept(tuple(map(Part.from_dict, kept["parts"])), tuple(map(str, kept["confirmation"])))


def working_tree(root: Path, without: Path | None = None) -> str:
    """Return git's hash of all files of the working tree but one, uncommitted ones included, ignored ones not.

    Raises:
        RevisionError: git cannot tell.
    """
    with tempfile.TemporaryDirectory() as folder:
        # An index of its own, so that the user's stays as it is.
        settings = {**os.environ, "GIT_INDEX_FILE": str(Path(folder) / "index")}
        commands = [["add", "--all", ":/"], ["write-tree"]]
        if without and without.resolve().is_relative_to(root.resolve()):
            commands.insert(1, ["rm", "--cached", "--quiet", "--ignore-unmatch", "--", str(without.resolve())])
        for arguments in commands:
            done = subprocess.run(  # noqa: S603 - the user's own git
                ["git", "-C", str(root), *arguments],  # noqa: S607
                env=settings,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise RevisionError(f"git cannot describe the working tree in {root}: {done.stderr.strip()}")
    return done.stdout.strip()


def environment() -> str:
    """Return a digest of the interpreter and of the versions of all installed packages."""
    packages = {f"{found.name}=={found.version}" for found in importlib.metadata.distributions()}
    described = [platform.python_implementation(), platform.python_version(), *sorted(packages)]
    return hashlib.sha256("\n".join(described).encode()).hexdigest()[:16]
