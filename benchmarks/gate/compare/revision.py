"""Another revision's packages, loaded beside the working tree's under another name."""

import importlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType

import pytest

from . import places
from .aliases import Imports
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

        Its top-level package (or a module, `impl.py`) is unpacked at the first use and imported as `impl_at_<commit>`.
        So is every other regular package of the repository that it imports; `aliases` says what becomes of the import
        statements. Only what is in git is unpacked: compiled extension modules are missing.

        Raises:
            RevisionError: git cannot unpack it, or the package that is imported here is not the one below `root`.
                Exceptions of the import propagate.
        """
        package = module.partition(".")[0]
        there = self._load(module)  # first: bisect reads from sys.modules what is duelled
        if (here := sys.modules.get(package)) and (origin := places.elsewhere(here, self.root)):
            raise RevisionError(
                f"{package} is imported from {origin}, and {self} would be compared with that: no change in "
                f"{self.root} would count. Put the package's folder on pytest's `pythonpath`, or install it with "
                "`pip install -e`"
            )
        return there

    def _load(self, module: str) -> ModuleType | None:
        package, _, rest = module.partition(".")
        if not self._is_unpacked(package):
            place = self._find(package) or places.find_namespace(package, self.files, self.searched)
            if place is None:
                return None
            self._unpack(package, place)
        alias = self._alias(package)
        place_of_module = self.folder.joinpath(alias, *rest.split("."))
        if not (place_of_module.is_dir() or place_of_module.with_suffix(".py").exists()):
            return None
        if str(self.folder) not in sys.path:
            sys.path.append(str(self.folder))  # not a finder: child processes get the path too
        return importlib.import_module(".".join(filter(None, (alias, rest))))

    @cached_property
    def files(self) -> frozenset[str]:
        """Return all files at the revision, relative to `root`."""
        return self._listed("ls-tree", "-r", "-z", "--name-only", self.commit)

    def files_here(self) -> frozenset[str]:
        """Return all files of the working tree that git does not ignore, relative to `root`."""
        listed = self._listed("ls-files", "-z", "--cached", "--others", "--exclude-standard")
        return frozenset(name for name in listed if (self.root / name).is_file())

    def _listed(self, *arguments: str) -> frozenset[str]:
        listing = _git(self.root, *arguments)
        if listing is None:
            raise RevisionError(f"git cannot list the files of {self}, or of the working tree")
        return frozenset(os.fsdecode(listing).split("\0")) - {""}

    def read(self, name: str) -> bytes:
        """Return the content of one of `files`."""
        content = _git(self.root, "show", f"{self.commit}:./{name}")
        if content is None:
            raise RevisionError(f"git cannot read {name} at {self}")
        return content

    @cached_property
    def searched(self) -> tuple[str, ...]:
        """Return the folders that have packages, relative to `root`."""
        return places.folders(self.root, sys.path)

    @cached_property
    def tree(self) -> Path:
        """Return a folder with all files of the revision, and no others."""
        return self.extract(self.folder / "tree")

    def _find(self, package: str) -> str | None:
        return places.find(package, self.files, self.searched)

    def _alias(self, package: str) -> str:
        return f"{package}_at_{self.commit[:12]}"

    def _is_unpacked(self, package: str) -> bool:
        place = self.folder / self._alias(package)
        return place.exists() or place.with_suffix(".py").exists()

    def _unpack(self, package: str, place: str) -> None:
        """Unpack a package under its alias, and with it the repository's other packages that it imports."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        unpacked: dict[str, Path] = {}
        waiting = {package: place}
        while waiting:
            top, place = waiting.popitem()
            self.extract(folder / top, place)
            unpacked[top] = folder / top / place
            for file in _python_files(unpacked[top]):
                waiting |= self._redirect(file, unpacked)
        # Under their names only when all are whole: a file that is not redirected imports the working tree.
        for top, path in unpacked.items():
            path.rename(self.folder / f"{self._alias(top)}{path.suffix}")
        importlib.invalidate_caches()

    def _redirect(self, file: Path, unpacked: Collection[str]) -> dict[str, str]:
        """Redirect a file's imports of the repository's packages; return where those are that are not unpacked yet."""
        imports = Imports.of(file.read_bytes())
        if imports is None:
            return {}
        known = {top for top in imports.tops if top in unpacked or self._is_unpacked(top)}
        found = {top: self._find(top) for top in imports.tops - known - sys.stdlib_module_names}
        new = {top: place for top, place in found.items() if place}
        if names := {top: self._alias(top) for top in (*known, *new)}:
            file.write_bytes(imports.redirected(names))
        return new

    @property
    def import_folders(self) -> list[Path]:
        """Return the folders of `tree` that have packages, in the order of search."""
        return self.folders_of(self.tree)

    def folders_of(self, tree: Path) -> list[Path]:
        """Return the folders of a tree that have packages, in the order of search."""
        return [tree / folder for folder in self.searched if (tree / folder).is_dir()]

    def benchmarks(
        self, paths: list[str], *, python: str = sys.executable, options: Sequence[str] = (), path: Sequence[str] = ()
    ) -> set[str]:
        """Return the ids of the tests that measure at the revision, in those of `paths` (below `root`) that are there.

        Args:
            paths: files and folders.
            python: the interpreter that collects them.
            options: more of pytest's.
            path: folders to import from, before all others.

        Raises:
            RevisionError: They cannot be collected.
        """
        there = [name for name in paths if (self.tree / name).exists()]
        if not there:
            return set()
        listing, names = self.folder / "gate_listing.py", self.folder / "names.txt"
        shutil.copy(Path(__file__).with_name("listing.py"), listing)
        words = ["--collect-only", "-qq", "-p", "no:cacheprovider", "-p", listing.stem, *options]
        # What this environment inherits would hide another one.
        environment = self.environment(path, inherits=python == sys.executable, variables={VARIABLE: str(names)})
        done = subprocess.run(  # noqa: S603 - an interpreter, and arguments that no shell sees
            [python, "-m", "pytest", *words, *there],
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

    def environment(
        self, path: Sequence[str] = (), *, inherits: bool = True, variables: Mapping[str, str]
    ) -> dict[str, str]:
        """Return the environment of a process in `tree` that imports the revision's packages, and modules of `folder`.

        The revision's own packages come first: an editable install leads to the working tree's.

        Args:
            path: folders to import from, before all others.
            inherits: whether it imports from this process's PYTHONPATH as well.
            variables: more of them.
        """
        inherited = os.environ.get("PYTHONPATH") if inherits else None
        folders = [*path, str(self.folder), *map(str, self.import_folders), inherited]
        return {**os.environ, **variables, "PYTHONPATH": os.pathsep.join(filter(None, folders))}

    @cached_property
    def changed(self) -> tuple[str, ...]:
        """Return the files below `root` that differ in the working tree, and its new Python files.

        They are relative to `root`, with slashes.

        Raises:
            RevisionError: git cannot tell.
        """
        known = _git(self.root, "diff", "--name-only", "-z", "--no-renames", "--relative", self.commit, "--", ".")
        new = _git(self.root, "ls-files", "--others", "--exclude-standard", "-z", "--", "*.py")
        if known is None or new is None:
            raise RevisionError(f"git cannot compare the files of {self} with those here")
        return tuple(filter(None, os.fsdecode(known + new).split("\0")))

    def extract(self, target: Path, *only: str) -> Path:
        """Unpack the revision's files, or `only` some folders, into a folder, and return that.

        Raises:
            RevisionError: git cannot, or it would not be safe.
        """
        archive = _git(self.root, "archive", "--format=tar", self.commit, *only)
        if archive is None:
            raise RevisionError(f"git cannot unpack {self}")
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            try:
                files.extractall(target, filter="data")
            except tarfile.FilterError as error:
                raise RevisionError(f"{self} has a file that cannot be unpacked safely: {error}") from error
        return target

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


def working_tree(root: Path) -> tuple[str, bool] | None:
    """Return the commit that the working tree is of, and whether files below `root` differ from it; None outside git.

    Raises:
        RevisionError: git is not installed.
    """
    head = _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    if head is None:
        return None
    return head.decode().strip(), bool(_git(root, "status", "--porcelain", "--", "."))


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


def _python_files(place: Path) -> list[Path]:
    """Return a package's files, without links that lead nowhere, or the one file of a module."""
    return [file for file in sorted(place.rglob("*.py")) if file.is_file()] if place.is_dir() else [place]
