"""Kept kernels are loaded from disk while their sources are unchanged, and recompiled when any source changes."""

import json
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


# Runs the code of each line of its input in a child of its own; prints what the child printed and its status. Numba
# has been imported and has compiled something, which takes most of the time of a run; the package is imported anew.
SERVER = """
import json, os, sys, traceback
from numba import njit
from numba.core import config

njit(lambda number: number * 2)(10)
print("ready", flush=True)
for line in sys.stdin:
    jobs = []
    for folder, code, environment in json.loads(line):
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.dup2(writer, 1)
                os.chdir(folder)
                os.environ.update(environment)
                config.reload_config()
                sys.path.insert(0, folder)
                exec(code)
                sys.stdout.flush()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        os.close(writer)
        jobs.append((child, os.fdopen(reader)))
    outputs = [reader.read() for _, reader in jobs]
    statuses = [os.waitpid(child, 0)[1] for child, _ in jobs]
    print(json.dumps(list(zip(outputs, statuses))), flush=True)
"""


def inherited():
    return {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}


@pytest.fixture(scope="module")
def server():
    """A process whose children run kernels, started when it is first needed."""
    command = [sys.executable, "-B", "-c", SERVER]
    with subprocess.Popen(
        command, env=inherited(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()


@pytest.fixture
def run_each(server):
    """Return a function that runs kernel(10) of each package in a new process, all at once."""

    def run_each(*packages, **environment):
        jobs = [(str(package.parent), RUN.format(package=package.name), environment) for package in packages]
        print(json.dumps(jobs), file=server.stdin, flush=True)
        outputs = json.loads(server.stdout.readline())
        assert not any(status for _, status in outputs)
        return [tuple(map(int, output.split())) for output, _ in outputs]

    return run_each


@pytest.fixture
def run(run_each):
    """Return a function that gives kernel(10) in a new process, and how many times the kernel was loaded from disk."""
    return lambda package, **environment: run_each(package, **environment)[0]


def run_python(package, **environment):
    """Do the same as `run` in a process that imports Numba itself."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", RUN.format(package=package.name)],
        cwd=package.parent,
        env=inherited() | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(map(int, done.stdout.split()))


def test_unchanged_sources_are_loaded_from_disk(package):
    assert run_python(package) == (20, 0)
    assert run_python(package) == (20, 1)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("helpers", "number * ", "5 + number * "),
        ("constants", "2", "3"),
        ("kernel", "helped(number)\n", "-helped(number)\n"),
    ],
)
def test_a_change_in_any_module_recompiles(name, before, after, package, run):
    assert run(package) == (20, 0)
    path = package / f"{name}.py"
    text = path.read_text(encoding="utf-8")
    write(path, text[::-1].replace(before[::-1], after[::-1], 1)[::-1])
    changed = {"helpers": 25, "constants": 30, "kernel": -20}[name]
    assert run(package) == (changed, 0)
    assert run(package) == (changed, 1)


def test_numba_alone_runs_stale_code(package, run):
    """The reason for `kept`. If this test fails, Numba itself detects changes in imported modules: remove `kept`."""
    write(package / "kernel.py", KERNEL.format(helpers=".helpers", decorator="njit(cache=True)"))
    assert run(package) == (20, 0)
    write(package / "constants.py", "FACTOR = 3\n")
    assert run(package) == (20, 1)


def test_numba_cache_dir(package, tmp_path):
    folder = tmp_path / "cache"
    assert run_python(package, NUMBA_CACHE_DIR=str(folder)) == (20, 0)
    assert run_python(package, NUMBA_CACHE_DIR=str(folder)) == (20, 1)
    assert list(folder.rglob("*.nbc"))
    assert not list(package.rglob("*.nbc"))


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="needs POSIX permissions, and root can write to a read-only folder"
)
def test_a_read_only_tree(package, tmp_path, run):
    package.chmod(stat.S_IRUSR | stat.S_IXUSR)
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "caches")}
    try:
        assert run(package, **home) == (20, 0)
        assert run(package, **home) == (20, 1)
    finally:
        package.chmod(stat.S_IRWXU)


def test_a_tree_where_no_cache_folder_can_be_created(package, tmp_path, run):
    """A file named __pycache__ prevents creating the folder, even for root."""
    write(package / "__pycache__", "")
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "caches")}
    assert run(package, **home) == (20, 0)
    assert run(package, **home) == (20, 1)


def test_another_revision_has_its_own_cache(package, run):
    """The gate loads another revision under another package name: each revision has its own cache."""
    other = package.with_name("toy_at_0123456789ab")
    shutil.copytree(package, other)
    write(other / "constants.py", "FACTOR = 7\n")
    assert run(package) == (20, 0)
    assert run(other) == (70, 0)
    assert run(package) == (20, 1)
    assert run(other) == (70, 1)


def test_processes_that_compile_concurrently(package, run, run_each):
    assert {result for result, _ in run_each(package, package, package)} == {20}
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


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "flipped":
        content[len(content) // 2] ^= 1
    elif how == "first byte":
        content[0] ^= 1
    elif how == "cut off":
        del content[len(content) // 2 :]
    else:
        content.clear()
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["flipped", "first byte", "cut off", "empty"])
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_a_damaged_file_is_compiled_anew(package, run_each, suffix, how):
    """Numba runs machine code in which a bit has flipped, and raises an error for a file that is cut off."""
    assert run_each(package) == [(20, 0)]
    assert run_each(package) == [(20, 1)]
    (path,) = package.rglob(f"*kernel*{suffix}")
    damage(path, how)
    assert run_each(package) == [(20, 0)]
    assert run_each(package) == [(20, 1)]
