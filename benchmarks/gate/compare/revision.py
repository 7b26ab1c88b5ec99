"""Another revision's files, for a side that runs there."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from .listing import VARIABLE

NOT_COPIED = shutil.ignore_patterns("__pycache__", ".*")


class RevisionError(Exception):
    """A requested revision cannot be used; the message names it and says why."""


@dataclass(frozen=True)
class Revision:
    """A commit of the repository that `root` is in.

    Attributes:
        root: the folder whose files are compared, at the commit and in the working tree.
        name: what the user called it.
        commit: the commit's hash.
        folder: a temporary folder for its files.
    """

    root: Path
    name: str
    commit: str
    folder: Path

    @classmethod
    def open(cls, root: Path, name: str) -> "Revision":
        """Find the commit that `name` means, in anything git understands.

        Raises:
            RevisionError: git does not know it, `root` is in no repository, or git is not installed.
        """
        commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        if commit is None:
            raise RevisionError(
                f"git knows no revision {name!r} in {root}. In a shallow clone (CI: fetch-depth: 0) it may be missing"
            )
        return cls(root, name, commit.decode().strip(), Path(tempfile.mkdtemp(prefix="revision-")))

    @cached_property
    def tree(self) -> Path:
        """Return the folder with the commit's files.

        Raises:
            RevisionError: git cannot unpack it.
        """
        return self._unpack(self.folder / "tree")

    def side(self, module: Path, configuration: Path | None) -> Path:
        """Return a folder with the commit's files and this tree's benchmarks.

        Benchmarks are the folder of `module` (the module alone if it lies in `root`), conftest.py in each folder above
        it, and pytest's configuration file: absolute paths below `root`.

        Raises:
            RevisionError: git cannot unpack it.
        """
        place = module.parent.relative_to(self.root)
        tree = self.folder / "sides" / "-".join(("side", *place.parts))
        if tree.exists():
            return tree
        self._unpack(tree)
        if place.parts:
            shutil.rmtree(tree / place, ignore_errors=True)
            shutil.copytree(self.root / place, tree / place, ignore=NOT_COPIED)
        above = [self.root / folder / "conftest.py" for folder in place.parents]
        for file in (*above, *([] if place.parts else [module]), *([configuration] if configuration else [])):
            copy = tree / file.relative_to(self.root)
            copy.unlink(missing_ok=True)
            if file.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, copy)
        return tree

    def restore(self, module: Path, side: Path) -> bool:
        """Give a `side` the commit's own benchmark module instead of this tree's; return whether there is one."""
        own = module.relative_to(self.root)
        if not (self.tree / own).exists():
            return False
        shutil.copy(self.tree / own, side / own)
        return True

    def _unpack(self, target: Path) -> Path:
        archive = _git(self.root, "archive", "--format=tar", self.commit)
        if archive is None:
            raise RevisionError(f"git cannot unpack {self}")
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            try:
                files.extractall(target, filter="data")
            except tarfile.FilterError as error:
                raise RevisionError(f"{self} has a file that cannot be unpacked safely: {error}") from error
        return target

    def benchmarks(self, paths: list[str]) -> set[str]:
        """Return the ids of the tests that measure at the revision, in those of `paths` (below `root`) that are there.

        Raises:
            RevisionError: They cannot be collected.
        """
        there = [path for path in paths if (self.tree / path).exists()]
        if not there:
            return set()
        listing, names = self.folder / "gate_listing.py", self.folder / "names.txt"
        shutil.copy(Path(__file__).with_name("listing.py"), listing)
        options = ["--collect-only", "-qq", "-p", "no:cacheprovider", "-p", listing.stem]
        path = os.pathsep.join(filter(None, (str(self.folder), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, VARIABLE: str(names), "PYTHONPATH": path}
        done = subprocess.run(  # noqa: S603 - this interpreter, and arguments that no shell sees
            [sys.executable, "-m", "pytest", *options, *there],
            cwd=self.tree,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            output = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
            raise RevisionError(f"the benchmarks at {self} cannot be listed, so one could be missing here:\n{output}")
        return set(names.read_text(encoding="utf-8").split("\n")) - {""}

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def here(self) -> str:
        """Return what is compared with the commit, in words."""
        head, changes = _git(self.root, "rev-parse", "HEAD"), _git(self.root, "status", "--porcelain", "--", ".")
        commit = head.decode().strip()[:12] if head else "no commit"
        return f"{commit} with uncommitted changes" if changes else commit

    def __str__(self) -> str:
        short = self.commit[:12]
        return short if self.name in {self.commit, short} else f"{self.name} ({short})"


def _git(root: Path, *arguments: str) -> bytes | None:
    """Return git's output, or None if it fails.

    Raises:
        RevisionError: git is not installed.
    """
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False)  # noqa: S603, S607 - the user's own git
    except FileNotFoundError:
        raise RevisionError("git reads the revisions, and it is not on this machine's path") from None
    return done.stdout if done.returncode == 0 else None
