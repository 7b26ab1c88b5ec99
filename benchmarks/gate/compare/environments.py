"""The environments of the two sides, where their dependencies differ: each is made by uv, once, from its own tree.

An environment lies in the user's cache folder, by a hash of all that decides its content. It is made under a temporary
name and renamed when it is whole, with its description inside: what an interrupted installation leaves is never used.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from . import described
from .dependencies import Declared

CACHE_VARIABLE = "PERFORMANCE_GATE_CACHE"
DESCRIPTION = "performance-gate.json"  # in a whole environment
UNFINISHED = ".unfinished"
DAY = 86_400  # seconds, after which an unfinished environment is no other process's work
LAST_LINES = 20  # of uv's output, in a message
# Settings of uv that do not change what is installed, but where it keeps its files and how fast it is.
NOT_CONTENT = ("UV_CACHE_DIR", "UV_CONCURRENT_", "UV_HTTP_", "UV_LINK_MODE", "UV_NO_PROGRESS", "UV_PROJECT_ENVIRONMENT")


class InstallError(Exception):
    """An environment cannot be made; the message says which, and has the end of uv's output."""


@dataclass(frozen=True)
class Environment:
    """An environment.

    Attributes:
        interpreter: its Python.
        python: implementation and version.
        packages: the version of each installed package.
    """

    interpreter: Path
    python: str
    packages: Mapping[str, str]


@dataclass(frozen=True)
class Change:
    """A package that differs between the two environments; None where it is not installed."""

    name: str
    reference: str | None
    candidate: str | None


@dataclass(frozen=True)
class Environments:
    """What a run knows of the two sides' dependencies, where these differ.

    Attributes:
        differs: what the trees declare differently: names of files, and of parts of pyproject.toml.
        reference, candidate: their environments; None where they were not compared, because of --one-environment.
    """

    differs: tuple[str, ...]
    reference: Environment | None = None
    candidate: Environment | None = None

    @property
    def compared(self) -> bool:
        """Return whether each side runs in an environment of its own."""
        return self.reference is not None and self.candidate is not None

    @property
    def changes(self) -> tuple[Change, ...]:
        """Return the packages that differ, by name."""
        there, here = (side.packages if side else {} for side in (self.reference, self.candidate))
        return tuple(
            Change(name, there.get(name), here.get(name))
            for name in sorted({*there, *here})
            if there.get(name) != here.get(name)
        )

    def digest(self) -> str:
        """Return a digest of both environments."""
        sides = [(side.python, sorted(side.packages.items())) for side in (self.reference, self.candidate) if side]
        return hashlib.sha256(json.dumps(sides).encode()).hexdigest()[:16]


def make(
    name: str,
    tree: Path,
    arguments: Sequence[str],
    declared: Declared,
    *,
    python: str = sys.executable,
    say: Callable[[str], object] = str,
) -> Environment:
    """Return the environment of a tree; it is made if it does not exist.

    Args:
        name: of the tree, in messages.
        tree: where `uv pip install` runs.
        arguments: of `uv pip install`.
        declared: what the tree declares.
        python: the interpreter that it is for.
        say: called with a sentence before something that may take minutes.

    Raises:
        InstallError: uv is missing or fails, the interpreter cannot run, or a package is made of a folder.
    """
    uv = _find_uv()
    settings = {name: text for name, text in os.environ.items() if name.startswith("UV_")}
    content = {name: text for name, text in settings.items() if not name.startswith(NOT_CONTENT)}
    identity = _describe(python, f"the interpreter {python}")["identity"]
    key = json.dumps([declared.digest(), list(arguments), identity, content], sort_keys=True)
    folder = cache_folder() / hashlib.sha256(key.encode()).hexdigest()[:20]
    if environment := _finished(folder):
        return environment
    say(f"gate: uv makes the environment of {name}, which may take minutes the first time")
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder.parent)
    temporary = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", suffix=UNFINISHED, dir=folder.parent))
    try:
        made = temporary / "environment"
        # Relocatable: the commands in it name no folder, so that it can be renamed.
        _run_uv(name, tree, [uv, "venv", "--quiet", "--no-project", "--relocatable", "--python", python, str(made)])
        interpreter = str(_interpreter(made))
        _run_uv(name, tree, [uv, "pip", "install", "--quiet", "--python", interpreter, *arguments])
        description = _describe(interpreter, f"the environment of {name}")
        if description["folders"]:
            raise InstallError(
                f"the environment of {name} has {', '.join(description['folders'])} from a folder. An environment is "
                "kept for all trees with the same lock, so it may have dependencies only: the repository's own "
                "packages are imported from each side's tree. Leave that out of gate_install and of the lock "
                "(uv export --no-emit-project)"
            )
        (made / DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")
        _put(made, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if environment := _finished(folder):
        return environment
    raise InstallError(f"the environment of {name} cannot be put in {folder}. Delete that folder")


def cache_folder() -> Path:
    """Return where the environments are: in $PERFORMANCE_GATE_CACHE, or among the user's caches."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return (Path(chosen) if chosen else user_cache_path("performance-gate", appauthor=False)) / "environments"


def _find_uv() -> str:
    """Return uv's path: beside this Python, where the suite's own version is, or on the path."""
    beside = shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv := beside or shutil.which("uv"):
        return uv
    raise InstallError(
        "uv makes an environment for each side, and it is neither beside this Python nor on the path. Install it "
        "(pip install uv), or leave the dependencies out of the comparison with --one-environment"
    )


def _interpreter(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _finished(folder: Path) -> Environment | None:
    """Return an environment that is whole, and whose interpreter still exists."""
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        interpreter = _interpreter(folder)
        return (
            Environment(interpreter, description["python"], description["packages"]) if interpreter.exists() else None
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _put(made: Path, folder: Path) -> None:
    """Rename a whole environment. Another process may have been faster, and what is not whole is replaced."""
    if not _finished(folder):
        shutil.rmtree(folder, ignore_errors=True)
    try:
        made.rename(folder)
    except OSError:  # there is one: `make` looks at it
        return


def _remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed have left."""
    for leftover in folder.glob(f"*{UNFINISHED}"):
        with suppress(OSError):  # another process has removed it
            if time.time() - leftover.stat().st_mtime > DAY:
                shutil.rmtree(leftover, ignore_errors=True)


def _describe(python: str, what: str) -> dict[str, Any]:
    """Run the program `described` with an interpreter, without the variables and folders of this process."""
    command = [python, "-I", described.__file__]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - an interpreter, and no shell
        description: dict[str, Any] = json.loads(done.stdout)
    except OSError as error:
        raise InstallError(f"{what} cannot run: {error}") from error
    except ValueError:
        raise InstallError(f"{what} cannot describe itself:\n{_end(done.stdout + done.stderr)}") from None
    return description


def _run_uv(name: str, tree: Path, command: list[str]) -> None:
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)  # noqa: S603 - uv, and no shell
    if done.returncode:
        words = " ".join(["uv", *command[1:]])
        raise InstallError(
            f"uv cannot make the environment of {name}. {words} said:\n{_end(done.stdout + done.stderr)}"
        )


def _end(output: str) -> str:
    return "\n".join(output.strip().splitlines()[-LAST_LINES:])
