"""`make case`: what README says about it, done in a clone; which names are refused; never half a case."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.new_case.__main__ import main
from benchmarks.new_case.writing import CaseError, texts, write

from .gate.clones import ROOT, Clone

BIN = Path(sys.executable).parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = re.search(r"^## A case of your own\n(.*?)^## ", README, re.DOTALL | re.MULTILINE)[1]
BEFORE, FILE, OLD, NEW, AFTER = re.search(
    r"\A(.*?)```diff\n# (\S+)\n-(.*?)\n\+(.*?)\n```\n(.*?)<!-- generated", SECTION, re.DOTALL
).groups()
NOBODY = {f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def commands(text):
    """Return the indented lines."""
    return re.findall(r"^    (\S.*)$", text, re.MULTILINE)


@pytest.fixture
def clone(tmp_path):
    folder = tmp_path / "clone"
    Clone(ROOT).git("clone", "-q", "--no-hardlinks", ROOT, folder)
    return Clone(folder)


def run(clone, command):
    """Run a line of README with this environment instead of a new one; return the status and what was printed."""
    inherited = {
        name: text for name, text in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON", "GITHUB_"))
    }
    command = command.replace(".venv/bin/", f"{BIN}/").replace("make ", f"make -o .venv/.ready BIN={BIN} ")
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=clone.folder,
        env=inherited | NOBODY,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.serial
def test_readmes_lines_lead_to_a_green_run_and_to_a_red_one(clone):
    outputs = []
    for command in commands(BEFORE):
        status, output = run(clone, command)
        assert status == 0, output
        outputs.append(output)
    assert "wrote impl/mine/optimised.py" in outputs[0]
    assert re.search(r"mine test_speedup\[optimised\] +floor holds", outputs[1]), outputs[1]
    assert re.search(r"\b11 passed, 2 deselected", outputs[1]), outputs[1]

    clone.change(FILE, OLD, NEW)
    *earlier, last = commands(AFTER)
    for command in earlier:
        status, output = run(clone, command)
        assert status == 0, output
    status, output = run(clone, last)
    assert status == 1, output
    assert re.search(r"mine test_revision\[optimised\] +slower", output), output


def test_what_is_written_passes_the_linters(clone):
    name = "a_case_with_a_name_of_30_lette"
    places = write(name, clone.folder)
    assert places == [*texts(name)]
    for words in (["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]):
        checked = [place for place in places if words != ["mypy"] or place.startswith("impl/")]
        command = [BIN / words[0], *words[1:], *checked]
        done = subprocess.run(command, cwd=clone.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def root(tmp_path):
    """A tree with the places that matter."""
    for folder in ("impl/shared", "impl/old", "benchmarks"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("impl/variant.py", "benchmarks/test_taken.py"):
        (tmp_path / file).touch()
    return tmp_path


def tree(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "cannot name a package"),
        ("My", "cannot name a package"),
        ("my-case", "cannot name a package"),
        ("my case", "cannot name a package"),
        ("9lives", "cannot name a package"),
        ("_mine", "cannot name a package"),
        ("größe", "cannot name a package"),
        ("mine\n", "cannot name a package"),
        ("../mine", "cannot name a package"),
        ("class", "keyword of Python"),
        ("a" * 31, "30 are the most"),
        ("shared", "impl/shared is there already"),
        ("old", "impl/old is there already"),
        ("variant", "impl/variant.py is there already"),
        ("taken", "benchmarks/test_taken.py is there already"),
    ],
)
def test_a_name_that_is_refused_writes_nothing(name, reason, root):
    before = tree(root)
    with pytest.raises(CaseError, match=re.escape(reason)):
        write(name, root)
    assert tree(root) == before


@pytest.mark.parametrize("name", ["class", "counter", "shared", "variant"])
def test_the_command_says_why_it_refuses(name, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([name])
    assert exit_.value.code == 2
    assert re.search(r"make case: error: .+\. Nothing was written\.", capsys.readouterr().err)


def test_half_a_case_does_not_stay(root):
    (root / "benchmarks/test_taken.py").unlink()
    (root / "benchmarks").rmdir()
    before = tree(root)
    with pytest.raises(FileNotFoundError):
        write("mine", root)
    assert tree(root) == before


def test_the_worked_case_has_at_most_40_lines():
    lines = [line for text in texts("mine").values() for line in text.splitlines() if line]
    assert len(lines) <= 40
