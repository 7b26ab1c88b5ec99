"""Another revision's packages, loaded beside the working tree's under another name."""

import importlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from .listing import VARIABLE


class RevisionError(Exception):
    """A requested revision cannot be used; the message names it and says why."""


@dataclass(frozen=True)
class Revision:
    """A commit of the repository that `root` is in.

    Attributes:
        root: the folder that has the packages, at the commit and in the working tree.
        name: what the user called it.
        commit: the commit's hash.
        folder: a temporary folder for its packages.
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

    def load(self, module: str) -> ModuleType | None:
        """Import `module` (`impl.counter`, say) as it is at the revision, or return None if it does not exist there.

        Its top-level package is unpacked at the first use and imported as `impl_at_<commit>`, so all imports within
        that package must be relative.

        Raises:
            RevisionError: git cannot unpack it. Exceptions of the import propagate.
        """
        package, _, rest = module.partition(".")
        alias = f"{package}_at_{self.commit[:12]}"
        if not (self.folder / alias).exists() and not self._unpack(package, alias):
            return None
        place = self.folder.joinpath(alias, *rest.split("."))
        if not (place.is_dir() or place.with_suffix(".py").exists()):
            return None
        if str(self.folder) not in sys.path:
            sys.path.append(str(self.folder))  # not a finder: child processes get the path too
        return importlib.import_module(".".join(filter(None, (alias, rest))))

    def _unpack(self, package: str, alias: str) -> bool:
        if not _git(self.root, "ls-tree", "--name-only", self.commit, f"./{package}"):
            return False
        self._extract(self.folder, package)
        (self.folder / package).rename(self.folder / alias)
        return True

    def benchmarks(self, paths: list[str]) -> set[str]:
        """Return the ids of the tests that measure at the revision, in those of `paths` (below `root`) that are there.

        Raises:
            RevisionError: They cannot be collected.
        """
        tree = self.folder / "tree"
        if not tree.exists():
            self._extract(tree)
        there = [path for path in paths if (tree / path).exists()]
        if not there:
            return set()
        listing, names = self.folder / "gate_listing.py", self.folder / "names.txt"
        shutil.copy(Path(__file__).with_name("listing.py"), listing)
        options = ["--collect-only", "-qq", "-p", "no:cacheprovider", "-p", listing.stem]
        path = os.pathsep.join(filter(None, (str(self.folder), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, VARIABLE: str(names), "PYTHONPATH": path}
        done = subprocess.run(  # noqa: S603 - this interpreter, and arguments that no shell sees
            [sys.executable, "-m", "pytest", *options, *there],
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            output = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
            raise RevisionError(f"the benchmarks at {self} cannot be listed, so one could be missing here:\n{output}")
        return set(names.read_text(encoding="utf-8").split("\n")) - {""}

    def _extract(self, target: Path, *only: str) -> None:
        archive = _git(self.root, "archive", "--format=tar", self.commit, *only)
        if archive is None:
            raise RevisionError(f"git cannot unpack {self}")
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            try:
                files.extractall(target, filter="data")
            except tarfile.FilterError as error:
                raise RevisionError(f"{self} has a file that cannot be unpacked safely: {error}") from error

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
