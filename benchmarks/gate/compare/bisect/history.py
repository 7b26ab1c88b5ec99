"""The commits between two revisions, and temporary checkouts of them; the user's own and its index stay as they are."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

# In a hook these point to the user's own index and checkout.
OF_A_HOOK = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY")


class HistoryError(Exception):
    """The history cannot be searched as asked; the message says why, and what to do."""


def clean_environment(**more: str) -> Mapping[str, str]:
    """Return the environment without what ties git to the user's own checkout."""
    return {**{name: value for name, value in os.environ.items() if name not in OF_A_HOOK}, **more}


def git(folder: Path, *arguments: str) -> str:
    """Return git's output.

    Raises:
        HistoryError: git fails or is not installed.
    """
    # No hook: a checkout that is made and removed again must not start the user's programs.
    command = ["git", "-C", str(folder), "-c", f"core.hooksPath={os.devnull}", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean_environment())  # noqa: S603 - the user's own git
    except FileNotFoundError:
        raise HistoryError("git reads the history, and it is not on this machine's path") from None
    if done.returncode:
        raise HistoryError(f"git {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout.strip()


@dataclass(frozen=True)
class History:
    """The commits from a good one (excluded) to a bad one, along first parents.

    Attributes:
        root: the folder that the tests run in, within the repository.
        good, bad: hashes.
        commits: hashes, oldest first; `bad` is the last.
    """

    root: Path
    good: str
    bad: str
    commits: tuple[str, ...]

    @classmethod
    def between(cls, root: Path, good: str, bad: str) -> "History":
        """Find the commits.

        Raises:
            HistoryError: git does not know a revision, both are the same commit, or `good` is no ancestor of `bad`.
        """
        ends = {}
        for end, name in (("GOOD", good), ("BAD", bad)):
            try:
                ends[end] = git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
            except HistoryError:
                raise HistoryError(
                    f"git knows no revision {name!r} ({end}) in {root}; in a shallow clone it may be missing"
                ) from None
        first, last = ends.values()
        if first == last:
            raise HistoryError(f"GOOD ({good}) and BAD ({bad}) are the same commit: there is nothing between them")
        descendants = set(git(root, "rev-list", "--ancestry-path", f"{first}..{last}").split())
        line = git(root, "rev-list", "--first-parent", "--reverse", f"{first}..{last}").split()
        commits = tuple(commit for commit in line if commit in descendants)
        if not commits:
            raise HistoryError(
                f"GOOD ({good}) is no ancestor of BAD ({bad}). Name a commit that BAD descends from, for example the "
                "output of git merge-base"
            )
        return cls(root, first, last, commits)

    def that_change(self, packages: Sequence[str]) -> tuple[str, ...]:
        """Return the commits at which a package (a folder or file in `root`) differs from the commit before.

        Raises:
            HistoryError: BAD has no such package.
        """
        for package in packages:
            if not self._state(self.bad, [package]):
                raise HistoryError(f"BAD has no package {package!r} in {self.root}")
        states = [self._state(commit, packages) for commit in (self.good, *self.commits)]
        pairs = zip(self.commits, states, states[1:], strict=False)
        return tuple(commit for commit, before, after in pairs if before != after)

    def _state(self, commit: str, packages: Sequence[str]) -> str:
        return git(self.root, "ls-tree", commit, "--", *(f"./{package}" for package in packages))

    def describe(self, commit: str) -> str:
        """Return a commit's short hash and subject."""
        return git(self.root, "show", "--no-patch", "--format=%h %s", commit)

    def date(self, commit: str) -> str:
        """Return the day on which a commit was written."""
        return git(self.root, "show", "--no-patch", "--date=short", "--format=%ad", commit)

    def is_merge(self, commit: str) -> bool:
        """Return whether a commit has more than one parent."""
        return len(git(self.root, "show", "--no-patch", "--format=%P", commit).split()) > 1

    @contextmanager
    def checkout(self, commit: str, packages: Sequence[str]) -> Iterator[tuple[Path, Path]]:
        """Give the tree of `bad` with the packages of `commit`, in a new folder each time: no compile cache fits it.

        Yields (the tree's counterpart of `root`, a folder for temporary files). Both are removed in any case.
        """
        folder = Path(tempfile.mkdtemp(prefix="bisect-")).resolve()
        tree, scratch = folder / "tree", folder / "tmp"
        scratch.mkdir()
        try:
            git(self.root, "worktree", "add", "--quiet", "--detach", str(tree), self.bad)
            root = tree / git(self.root, "rev-parse", "--show-prefix")
            for package in packages if commit != self.bad else ():
                git(root, "restore", f"--source={commit}", "--staged", "--worktree", "--", package)
            yield root, scratch
        finally:
            # Twice: also one that git was still setting up. Not `prune`, which is about the user's other checkouts too.
            with suppress(HistoryError):
                git(self.root, "worktree", "remove", "--force", "--force", str(tree))
            shutil.rmtree(folder, ignore_errors=True)
