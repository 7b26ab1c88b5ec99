"""What `make gate` compares with: never a commit with itself."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[1] / "Makefile"


@pytest.fixture
def clone(tmp_path):
    """A clone of a repository that has the Makefile and one commit; returns a function that runs git in it."""
    origin, folder = tmp_path / "origin", tmp_path / "clone"
    origin.mkdir()
    shutil.copy(MAKEFILE, origin)

    def git(*arguments, where=folder):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
        return subprocess.run(command, cwd=where, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q", "-b", "main", where=origin)
    git("add", "-A", where=origin)
    git("commit", "-qm", "first", where=origin)
    git("clone", "-q", str(origin), str(folder), where=tmp_path)
    return git


def compared(git):
    """Return the revision that the command of `make gate` names."""
    folder = git("rev-parse", "--show-toplevel")
    done = subprocess.run(
        ["make", "-n", "-o", ".venv/.ready", "gate"], cwd=folder, capture_output=True, text=True, check=True
    )
    return re.search(r"--against=(\S*) ", done.stdout)[1]


def test_new_commits_are_compared_with_the_merge_base_also_beside_uncommitted_work(clone):
    base = clone("rev-parse", "HEAD")
    clone("commit", "--allow-empty", "-qm", "second")
    assert compared(clone) == base
    folder = Path(clone("rev-parse", "--show-toplevel"))
    (folder / "untracked").touch()
    assert compared(clone) == base


def test_uncommitted_work_alone_is_compared_with_head(clone):
    (Path(clone("rev-parse", "--show-toplevel")) / "untracked").touch()
    assert compared(clone) == "HEAD"


def test_nothing_new_is_refused(clone):
    folder = Path(clone("rev-parse", "--show-toplevel"))
    ready = folder / ".venv/.ready"
    ready.parent.mkdir()
    ready.touch()
    (folder / ".git/info/exclude").write_text(".venv\n")
    done = subprocess.run(
        ["make", "-o", ".venv/.ready", "gate"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "nothing is new since origin/main" in done.stderr
