"""What two trees declare differently, and the environments that uv makes of it."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.gate.compare import environments
from benchmarks.gate.compare.dependencies import LOCKS, Declared, DependenciesError, named_files
from benchmarks.gate.compare.environments import (
    DESCRIPTION,
    Environment,
    Environments,
    InstallError,
    cache_folder,
    make,
)
from benchmarks.gate.report.dependencies import environments as in_words

from .wheels import write_wheel

PROJECT = """
[project]
name = "toy"
version = "1"
requires-python = ">=3.11"
dependencies = ["numpy>=2", "scipy"]
optional-dependencies.dev = ["ruff"]

[dependency-groups]
test = ["pytest", {include-group = "more"}]
more = ["psutil"]

[tool.other]
setting = 1
"""
FILES = {
    "pyproject.toml": PROJECT,
    "requirements.lock": "numpy==2.3.1\n",
    "src/toy.py": "",
    "docs/requirements.txt": "",
}


def declared(changed=None, patterns=LOCKS):
    files = {name: text.encode() for name, text in {**FILES, **(changed or {})}.items() if text is not None}
    return Declared.of(files, files.__getitem__, patterns)


@pytest.mark.parametrize(
    ("name", "old", "new", "differs"),
    [
        ("requirements.lock", "2.3.1", "2.4.6", "requirements.lock"),
        ("pyproject.toml", '"scipy"', '"scipy>=1.13"', "project.dependencies in pyproject.toml"),
        ("pyproject.toml", '"ruff"', '"ruff", "mypy"', "project.optional-dependencies in pyproject.toml"),
        ("pyproject.toml", ">=3.11", ">=3.12", "project.requires-python in pyproject.toml"),
        ("pyproject.toml", '"psutil"', '"psutil>6"', "dependency-groups in pyproject.toml"),
    ],
)
def test_what_differs(name, old, new, differs):
    changed = declared({name: FILES[name].replace(old, new)})
    assert declared().differences(changed) == changed.differences(declared()) == (differs,)
    assert changed.digest() != declared().digest()


@pytest.mark.parametrize(
    "changed",
    [
        {"pyproject.toml": PROJECT.replace("setting = 1", "setting = 2")},
        {"pyproject.toml": PROJECT.replace('version = "1"', 'version = "2"')},
        {"pyproject.toml": PROJECT.replace('"numpy>=2", "scipy"', '"scipy", "numpy>=2"')},
        {"requirements.lock": "numpy==2.3.1\r\n"},  # a working tree on Windows
        {"docs/requirements.txt": "sphinx"},
        {"src/toy.py": "1"},
    ],
)
def test_what_is_no_other_dependency(changed):
    assert not declared().differences(declared(changed))


def test_a_lock_that_is_new_or_gone_and_one_in_a_folder():
    assert declared({"uv.lock": "x"}).differences(declared()) == ("uv.lock",)
    assert declared({"pyproject.toml": None}).differences(declared())[0] == "project.requires-python in pyproject.toml"
    there, here = declared(patterns=["docs/*.txt"]), declared({"docs/requirements.txt": "x"}, patterns=["docs/*.txt"])
    assert there.differences(here) == ("docs/requirements.txt",)


def test_settings_of_uv_make_another_environment_and_are_no_dependency():
    changed = declared({"pyproject.toml": f'{PROJECT}\n[tool.uv.sources]\nnumpy = {{ index = "other" }}\n'})
    assert not declared().differences(changed)
    assert changed.digest() != declared().digest()


def test_a_pyproject_that_is_none():
    with pytest.raises(DependenciesError, match=r"pyproject\.toml cannot be read"):
        declared({"pyproject.toml": "[project"})


def test_files_that_the_installation_names():
    words = [
        "--extra",
        "dev",
        "-r",
        "pyproject.toml",
        "-c",
        "./requirements.lock",
        "--requirement=docs/requirements.txt",
    ]
    assert named_files(words, FILES) == ["requirements.lock", "docs/requirements.txt"]


# Environments


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder with a lock and two versions of a package, beside an empty cache."""
    monkeypatch.setenv("PERFORMANCE_GATE_CACHE", str(tmp_path / "cache"))
    for version in ("1", "2"):
        write_wheel(tmp_path / "wheels", "toydep", version, {"toydep.py": f"VERSION = {version}\n"})
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


def made(tree, lock="toydep==1\n", *more, said=None, **options):
    (tree / "requirements.lock").write_text(lock)
    declared = Declared({"requirements.lock": lock.encode()}, {})
    arguments = ["--no-index", "--offline", "--find-links", "../wheels", "-r", "requirements.lock", *more]
    return make("the toy", tree, arguments, declared, say=(said if said is not None else []).append, **options)


def test_an_environment_is_made_once_by_lock_arguments_and_settings(tree, monkeypatch):
    said = []
    first = made(tree, said=said)
    assert first.packages == {"toydep": "1"}
    assert first.python.endswith(sys.version.partition(" ")[0])
    assert made(tree, said=said) == first
    assert said == ["gate: uv makes the environment of the toy, which may take minutes the first time"]
    second = made(tree, "toydep==2\n")
    assert second.packages == {"toydep": "2"}
    assert made(tree, "toydep==1\n", "--no-deps").interpreter != first.interpreter
    monkeypatch.setenv("UV_CACHE_DIR", os.environ.get("UV_CACHE_DIR", str(tree.parent / "uv")))
    assert made(tree).interpreter == first.interpreter
    monkeypatch.setenv("UV_TORCH_BACKEND", "cpu")
    assert made(tree).interpreter not in {first.interpreter, second.interpreter}
    code = "import toydep; print(toydep.VERSION, toydep.__file__)"
    done = subprocess.run([second.interpreter, "-c", code], capture_output=True, text=True, check=True, cwd=tree)
    version, file = done.stdout.split()
    assert version == "2"
    assert file.startswith(str(second.interpreter.parents[1]))


def test_a_lock_that_cannot_be_installed(tree):
    with pytest.raises(
        InstallError, match=r"(?s)environment of the toy\. uv pip install .* said:.*toydep==9"
    ) as caught:
        made(tree, "toydep==9\n")
    assert "no version of toydep==9" in str(caught.value)
    assert not list(cache_folder().iterdir())


class KilledError(BaseException):
    """The process has ended here."""


def test_what_an_interruption_leaves_is_not_used(tree, monkeypatch):
    run = environments._run_uv

    def killed(name, folder, command):
        run(name, folder, command)
        if "install" in command:
            raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(environments, "_run_uv", killed)
        patched.setattr(environments.shutil, "rmtree", lambda *_, **__: None)  # it had no time to tidy up
        with pytest.raises(KilledError):
            made(tree)
    (left,) = cache_folder().iterdir()
    assert list(left.rglob("toydep.py"))
    said = []
    assert made(tree, said=said).packages == {"toydep": "1"}
    assert len(said) == 1
    # Days later it is removed.
    os.utime(left, (time.time() - 2 * environments.DAY,) * 2)
    made(tree, "toydep==2\n")
    assert not left.exists()


@pytest.mark.parametrize("damage", ["no description", "half a description", "no interpreter"])
def test_a_damaged_environment_is_made_anew(tree, damage):
    first = made(tree)
    folder = first.interpreter.parents[1]
    if damage == "no interpreter":
        first.interpreter.unlink()
    elif damage == "no description":
        (folder / DESCRIPTION).unlink()
    else:
        (folder / DESCRIPTION).write_text((folder / DESCRIPTION).read_text()[:20])
    (folder / "left").touch()
    said = []
    assert made(tree, said=said) == first
    assert len(said) == 1
    assert not (folder / "left").exists()


def test_another_process_was_faster(tree, monkeypatch):
    run = environments._run_uv

    def slow(name, folder, command):
        run(name, folder, command)
        if "install" in command:
            with monkeypatch.context() as patched:
                patched.setattr(environments, "_run_uv", run)
                others.append(made(tree))

    others = []
    monkeypatch.setattr(environments, "_run_uv", slow)
    assert [made(tree)] == others
    assert len(list(cache_folder().iterdir())) == 1


def test_a_package_made_of_a_folder_is_refused(tree):
    package = tree / "mine"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[project]\nname = "mine"\nversion = "1"\n[build-system]\nrequires = []\n'
        'build-backend = "backend"\nbackend-path = ["."]\n'
    )
    wheel = write_wheel(tree.parent / "built", "mine", "1", {"mine.py": ""})
    (package / "backend.py").write_text(
        f"import shutil\ndef build_wheel(to, *_):\n    return shutil.copy({str(wheel)!r}, to).rpartition('/')[2]\n"
    )
    with pytest.raises(InstallError, match="environment of the toy has mine from a folder"):
        made(tree, "toydep==1\n./mine\n")
    assert not list(cache_folder().iterdir())


def test_without_uv(tree, monkeypatch):
    monkeypatch.setattr(environments.shutil, "which", lambda *_, **__: None)
    with pytest.raises(InstallError, match=r"pip install uv\), or .* --one-environment"):
        made(tree)


def test_uv_beside_this_python_comes_first(tree, monkeypatch):
    beside = shutil.which("uv", path=Path(sys.executable).parent)
    if beside is None:
        pytest.skip("uv is not beside this Python")
    (tree / "uv").write_text("#!/bin/sh\nexit 1\n")
    (tree / "uv").chmod(0o755)
    monkeypatch.setenv("PATH", str(tree), prepend=os.pathsep)
    assert environments._find_uv() == beside


@pytest.mark.parametrize(
    ("text", "reason"), [("#!/bin/sh\necho no Python\n", "cannot describe itself:\nno Python"), ("", "cannot run")]
)
def test_an_interpreter_that_is_none(tree, text, reason):
    other = tree / "python"
    other.write_text(text)
    other.chmod(0o755)
    with pytest.raises(InstallError, match=f"the interpreter {other} {reason}"):
        made(tree, python=str(other))


def test_what_changes_between_two_environments_in_words_and_in_the_digest(tmp_path):
    there = Environment(tmp_path, "CPython 3.11.7", {"numpy": "2.3.1", "gone": "1", "kept": "1"})
    here = Environment(tmp_path, "CPython 3.12.1", {"numpy": "2.4.6", "kept": "1", "added": "3"})
    both = Environments(("requirements.lock",), there, here)
    (line,) = in_words(both)
    assert line == (
        "each side ran in an environment of its own (requirements.lock): CPython 3.11.7 -> CPython 3.12.1, "
        "added 3 (new), gone 1 (removed), numpy 2.3.1 -> 2.4.6"
    )
    (same,) = in_words(Environments(("requirements.lock",), there, there))
    assert same.endswith("(requirements.lock): the same packages in the same versions")
    assert list(in_words(None)) == []
    digests = {both.digest(), Environments((), here, there).digest(), Environments((), there, there).digest()}
    assert len(digests) == 3
    assert json.dumps(sorted(digests))
