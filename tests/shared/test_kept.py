"""Kept kernels are loaded from disk while their sources are unchanged, and recompiled when any source changes."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from impl.shared import kept as module

KEPT = Path(module.__file__)
KERNEL = """
from numba import njit

from {helpers} import helped
from .kept import kept


@{decorator}
def kernel(number):
    return helped(number)
"""
HELPERS = """
from numba import njit

from . import constants


@njit
def helped(number):
    return number * constants.FACTOR
"""
RUN = "from {package}.kernel import kernel; print(kernel(10), sum(kernel.stats.cache_hits.values()))"


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "toy"
    folder.mkdir()
    shutil.copy(KEPT, folder)
    write(folder / "__init__.py", "")
    write(folder / "constants.py", "FACTOR = 2\n")
    write(folder / "helpers.py", HELPERS)
    write(folder / "kernel.py", KERNEL.format(helpers=".helpers", decorator="kept(nogil=True)"))
    return folder


def write(path, text):
    path.write_text(text, encoding="utf-8")


def start(package, **environment):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    return subprocess.Popen(
        [sys.executable, "-B", "-c", RUN.format(package=package.name)],
        cwd=package.parent,
        env={**inherited, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def run(package, **environment):
    """Return the result of kernel(10) in a new process, and how many times it was loaded from disk."""
    with start(package, **environment) as process:
        output, _ = process.communicate()
    assert process.returncode == 0
    return tuple(map(int, output.split()))


def test_unchanged_sources_are_loaded_from_disk(package):
    assert run(package) == (20, 0)
    assert run(package) == (20, 1)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("helpers", "number * ", "5 + number * "),
        ("constants", "2", "3"),
        ("kernel", "helped(number)\n", "-helped(number)\n"),
    ],
)
def test_a_change_in_any_module_recompiles(name, before, after, package):
    assert run(package) == (20, 0)
    path = package / f"{name}.py"
    text = path.read_text(encoding="utf-8")
    write(path, text[::-1].replace(before[::-1], after[::-1], 1)[::-1])
    changed = {"helpers": 25, "constants": 30, "kernel": -20}[name]
    assert run(package) == (changed, 0)
    assert run(package) == (changed, 1)


def test_numba_alone_runs_stale_code(package):
    """The reason for `kept`. If this test fails, Numba itself detects changes in imported modules: remove `kept`."""
    write(package / "kernel.py", KERNEL.format(helpers=".helpers", decorator="njit(cache=True)"))
    assert run(package) == (20, 0)
    write(package / "constants.py", "FACTOR = 3\n")
    assert run(package) == (20, 1)


def test_numba_cache_dir(package, tmp_path):
    folder = tmp_path / "cache"
    assert run(package, NUMBA_CACHE_DIR=str(folder)) == (20, 0)
    assert run(package, NUMBA_CACHE_DIR=str(folder)) == (20, 1)
    assert list(folder.rglob("*.nbc"))
    assert not list(package.rglob("*.nbc"))


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="needs POSIX permissions, and root can write to a read-only folder"
)
def test_a_read_only_tree(package, tmp_path):
    package.chmod(stat.S_IRUSR | stat.S_IXUSR)
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "caches")}
    try:
        assert run(package, **home) == (20, 0)
        assert run(package, **home) == (20, 1)
    finally:
        package.chmod(stat.S_IRWXU)


def test_a_tree_where_no_cache_folder_can_be_created(package, tmp_path):
    """A file named __pycache__ prevents creating the folder, even for root."""
    write(package / "__pycache__", "")
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "caches")}
    assert run(package, **home) == (20, 0)
    assert run(package, **home) == (20, 1)


def test_another_revision_has_its_own_cache(package):
    """The gate loads another revision under another package name: each revision has its own cache."""
    other = package.with_name("toy_at_0123456789ab")
    shutil.copytree(package, other)
    write(other / "constants.py", "FACTOR = 7\n")
    assert run(package) == (20, 0)
    assert run(other) == (70, 0)
    assert run(package) == (20, 1)
    assert run(other) == (70, 1)


def test_processes_that_compile_concurrently(package):
    processes = [start(package) for _ in range(3)]
    assert {process.communicate()[0].split()[0] for process in processes} == {"20"}
    assert not any(process.returncode for process in processes)
    assert run(package) == (20, 1)


@pytest.mark.parametrize("name", ["impl.evaluation.kernel", "impl.serving.model.kernel"])
def test_kernel_digests_cover_the_vector_writer(name, monkeypatch):
    """Every kernel's digest depends on the source of the shared writer of vector instructions."""
    __import__(name)
    before = module.sources_digest(name)
    assert before == module.sources_digest(name)
    loader = type(sys.modules["impl.shared.vectors"].__spec__.loader)
    read = loader.get_source
    monkeypatch.setattr(
        loader, "get_source", lambda self, which: read(self, which) + "# edited\n" * (which == "impl.shared.vectors")
    )
    assert module.sources_digest(name) != before
