"""Which changed files make the gate run another revision's own benchmarks."""

import sys
from types import ModuleType

import pytest

from benchmarks.gate.compare.revision import Revision
from benchmarks.gate.compare.work import changes
from benchmarks.gate.compare.work.changes import benchmark_files

from .clones import ROOT
from .toy_suite import commit, git


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder with the package `workpkg`, a module `workmod` and what others import, `workhelp`."""
    for name in ("workpkg", "bench/deep", "other"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("workpkg/__init__.py", "workpkg/sums.py", "workmod.py", "workhelp.py", "unused.py"):
        (tmp_path / name).touch()
    monkeypatch.syspath_prepend(tmp_path)
    helper = ModuleType("workhelp")
    helper.__file__ = str(tmp_path / "workhelp.py")
    monkeypatch.setitem(sys.modules, "workhelp", helper)
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        ("bench/test_sums.py", True),
        ("bench/sizes.json", True),
        ("bench/deep/more.py", True),
        ("conftest.py", True),
        ("other/conftest.py", True),
        ("workhelp.py", True),  # imported
        ("unused.py", False),
        ("other/test_more.py", False),
        ("workpkg/sums.py", False),  # duelled
        ("bench/README.md", False),
        ("setup.py", False),
    ],
)
def test_a_suite_beside_its_package(tree, changed, counts):
    found = benchmark_files(
        [changed], tree, "workpkg.sums", collected=["bench", "other"], modules=["bench/test_sums.py"]
    )
    assert found == [changed] * counts


def test_the_order_is_kept_and_one_module_is_enough(tree):
    names = ["workmod.py", "bench/test_b.py", "bench/helper.py", "bench/test_a.py"]
    assert (
        benchmark_files(names, tree, "workmod", collected=["bench/test_a.py"], modules=["bench/test_a.py"]) == names[1:]
    )


@pytest.mark.parametrize(
    ("module", "counting"),
    [
        ("workpkg/tests/test_sums.py", ["workpkg/tests/sizes.py"]),
        ("workpkg/test_sums.py", ["workpkg/sums.py", "workpkg/tests/sizes.py"]),
        ("test_sums.py", ["setup.py"]),
    ],
)
def test_a_suite_inside_its_package_and_one_at_the_root(tree, module, counting):
    names = ["workpkg/sums.py", "workpkg/tests/sizes.py", "setup.py"]
    assert benchmark_files(names, tree, "workpkg.sums", collected=[module], modules=[module]) == counting


def test_the_gate_is_no_benchmark_and_neither_is_a_package_that_does_not_exist(tree, monkeypatch):
    monkeypatch.setattr(changes, "GATE", tree / "bench/gate")
    names = ["bench/gate/plugin/hooks.py", "bench/test_a.py"]
    assert benchmark_files(names, tree, "nosuch.pkg", collected=["bench"], modules=["bench/test_a.py"]) == names[1:]
    here = ["benchmarks/gate/plugin/hooks.py", "impl/counter/log.py", "benchmarks/checks/rows.py"]
    monkeypatch.undo()
    found = benchmark_files(
        here, ROOT, "impl.counter", collected=["benchmarks"], modules=["benchmarks/test_counter.py"]
    )
    assert found == here[2:]


def test_what_differs_from_a_revision(pytester, repository):
    def changed():
        revision = Revision.open(pytester.path, "HEAD")
        revision.close()
        return set(revision.changed)

    assert changed() == set()
    (pytester.path / "suite/a file.txt").touch()
    git(pytester, "add", "-A")
    commit(pytester, "a file")
    (pytester.path / "suite/a file.txt").unlink()
    (pytester.path / "suite/new.py").touch()
    (pytester.path / "suite/gate.json").touch()  # such as a run leaves behind
    (pytester.path / "__pycache__").mkdir(exist_ok=True)
    (pytester.path / "__pycache__/ignored.py").touch()
    git(pytester, "mv", "suite/test_toy.py", "suite/test_toys.py")
    assert changed() == {"suite/a file.txt", "suite/new.py", "suite/test_toy.py", "suite/test_toys.py"}
    (pytester.path / "below").mkdir()
    (pytester.path / "below/more.py").touch()
    below = Revision.open(pytester.path / "below", "HEAD")
    assert below.changed == ("more.py",)
    below.close()
