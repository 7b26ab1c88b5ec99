"""A package at another revision, beside the working tree's: every form of import leads to its own side."""

import importlib
import inspect
import json
import subprocess
import sys
import textwrap
import traceback
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gate.compare import places
from benchmarks.gate.compare.aliases import Imports
from benchmarks.gate.compare.revision import Revision, RevisionError

# The statement, what becomes of it, and an expression that reads SIDE through it.
FORMS = {
    "from a module": ("from mypkg.core import SIDE", "from new.core import SIDE", "SIDE"),
    "from a module as": ("from mypkg.core import SIDE as s", "from new.core import SIDE as s", "s"),
    "from the package": ("from mypkg import core", "from new import core", "core.SIDE"),
    "all names": ("from mypkg.core import *", "from new.core import *", "SIDE"),
    "several lines": ("from mypkg.core import (\n    SIDE,\n)", "from new.core import (\n    SIDE,\n)", "SIDE"),
    "from, continued": ("from \\\n    mypkg.core import SIDE", "from \\\n    new.core import SIDE", "SIDE"),
    "from, with spaces": ("from  mypkg . core import SIDE", "from  new . core import SIDE", "SIDE"),
    "a module as": ("import mypkg.core as c", "import new.core as c", "c.SIDE"),
    "a module": ("import mypkg.core", "import new.core, new as mypkg", "mypkg.core.SIDE"),
    "continued": ("import mypkg.\\\n    core", "import new.\\\n    core, new as mypkg", "mypkg.core.SIDE"),
    "the package": ("import mypkg", "import new, new as mypkg", "mypkg.core.SIDE"),
    "the package as": ("import mypkg as m", "import new as m", "m.core.SIDE"),
    "among others": (
        "import os, mypkg.core, mypkg.deep.er, sys",
        "import os, new.core, new as mypkg, new.deep.er, new as mypkg, sys",
        "mypkg.deep.er.SIDE",
    ),
    "on one line": (
        "'é'; import mypkg.core; from mypkg import deep",
        "'é'; import new.core, new as mypkg; from new import deep",
        "(mypkg.core.SIDE, deep.SIDE)[0]",
    ),
    "before a comment": ("import mypkg.core# é", "import new.core, new as mypkg# é", "mypkg.core.SIDE"),
    "the package before a comment": ("import mypkg# é", "import new, new as mypkg# é", "mypkg.core.SIDE"),
    "conditional": ("if True: import mypkg.core", "if True: import new.core, new as mypkg", "mypkg.core.SIDE"),
    "an attempt": (
        "try:\n    from mypkg.core import SIDE\nexcept ImportError:\n    SIDE = None",
        "try:\n    from new.core import SIDE\nexcept ImportError:\n    SIDE = None",
        "SIDE",
    ),
    "for types": (
        "from typing import TYPE_CHECKING\nimport mypkg\nif TYPE_CHECKING:\n    from mypkg.core import SIDE",
        "from typing import TYPE_CHECKING\nimport new, new as mypkg\nif TYPE_CHECKING:\n    from new.core import SIDE",
        "mypkg.core.SIDE",
    ),
}


def redirected(content, **names):
    return Imports.of(content).redirected(names or {"mypkg": "new"})


@pytest.mark.parametrize(("statement", "expected", "expression"), FORMS.values(), ids=FORMS)
def test_a_statement(statement, expected, expression):
    assert redirected(statement.encode()).decode() == expected
    assert redirected(expected.encode()).decode() == expected


@pytest.mark.parametrize(
    "source",
    [
        "from . import mypkg",
        "from .mypkg import core",
        "import mypkg2.mypkg, os.mypkg as mypkg",
        "from other.mypkg import core as mypkg",
        "mypkg.core = 'import mypkg.core'",
        "'''\nimport mypkg.core\n'''",
        "def f():\n    yield from mypkg.core",
        "raise ValueError from mypkg.core",
        "import_module('mypkg.core')  # import mypkg.core",
    ],
)
def test_what_is_no_absolute_import_of_the_package_stays(source):
    assert redirected(source.encode()).decode() == source


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xef\xbb\xbfimport mypkg as m\n", b"\xef\xbb\xbfimport new as m\n"),
        (b"# coding: latin-1\n'\xe9'; import mypkg as m\n", b"# coding: latin-1\n'\xe9'; import new as m\n"),
        (b"'''\r\n'''\r\nimport mypkg as m\r\n", b"'''\r\n'''\r\nimport new as m\r\n"),
        (b"'''\r'''\rimport mypkg as m\r", b"'''\r'''\rimport new as m\r"),
        (b"\x0cx = '''\x0b\x1c\x0c'''\n\x0cimport mypkg as m", b"\x0cx = '''\x0b\x1c\x0c'''\n\x0cimport new as m"),
        ("x = '\u2028'\nimport mypkg as m".encode(), "x = '\u2028'\nimport new as m".encode()),
        ("import mypkg.ü\nü = 1".encode(), "import new.ü, new as mypkg\nü = 1".encode()),
        (b"if x:\n\timport mypkg as m", b"if x:\n\timport new as m"),
        (b"'\\d'\nimport mypkg as m", b"'\\d'\nimport new as m"),  # an invalid escape: a warning, and not ours
    ],
)
def test_encodings_and_line_ends_stay(content, expected):
    assert redirected(content) == expected


@pytest.mark.parametrize(
    "content", [b"import mypkg\n{% template %}", b"\xff", b"\n\n\n'\xff'", b"# coding: nonsense", b"import a\0"]
)
def test_what_is_not_python_has_no_imports(content):
    assert Imports.of(content) is None


def test_each_package_gets_its_own_name():
    source = b"import a, b.c\nfrom d import e"
    assert Imports.of(source).tops == {"a", "b", "d"}
    assert redirected(source, a="x", d="z") == b"import x, x as a, b.c\nfrom z import e"


# Where packages are


def test_the_folders_that_are_searched(tmp_path):
    path = ["/elsewhere", str(tmp_path / "lib"), str(tmp_path), str(tmp_path / "lib")]
    assert places.folders(tmp_path, path) == ("lib", ".", "src")
    assert places.folders(tmp_path, []) == (".", "src")


def test_the_first_folder_with_the_package_or_module_is_meant():
    files = {"lib/a/__init__.py", "a.py", "b/c.py", "src/b.py", "b.txt", "d/__init__.py", "d.py"}
    assert places.find("a", files, ["lib", "."]) == "lib/a"
    assert places.find("a", files, [".", "lib"]) == "a.py"
    assert places.find("d", files, ["."]) == "d"
    assert places.find("b", files, [".", "src"]) == "src/b.py"
    assert places.find("b", files, ["."]) is None
    assert places.find_namespace("b", files, ["src", "."]) == "b"
    assert places.find_namespace("li", files, ["."]) is None


# Both sides in one process

OWN = ("mypkg", "mymod", "myhelper", "company")


class Repository:
    """A repository in a folder, with one way to write files and one to commit them."""

    def __init__(self, folder):
        self.folder = folder
        self.git("init", "-q")
        self.revisions = []

    def git(self, *arguments):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
        return subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True).stdout.strip()

    def write(self, files):
        for name, text in files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(textwrap.dedent(text), encoding="utf-8")

    def commit(self, files=None):
        """Commit the files; return the revision."""
        self.write(files or {})
        self.git("add", "-A")
        self.git("commit", "-qm", "some files")
        self.revisions.append(Revision.open(self.folder, "HEAD"))
        return self.revisions[-1]


def here(module):
    """Import the working tree's."""
    return importlib.import_module(module)


def forget():
    for name in [name for name in sys.modules if name.startswith(OWN)]:
        del sys.modules[name]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """An empty repository; what a test imports from it is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    forget()
    (tmp_path / "repository").mkdir()
    made = Repository(tmp_path / "repository")
    yield made
    forget()
    for revision in made.revisions:
        revision.close()


def sides(name):
    """The files of a package and of the forms of import in it, with SIDE as given."""
    files = {
        "mypkg/__init__.py": "from mypkg import core\n",
        "mypkg/core.py": f"SIDE = {name!r}\n",
        "mypkg/deep/__init__.py": f"SIDE = {name!r}\n",
        "mypkg/deep/er.py": "from mypkg.core import SIDE\n",
    }
    for number, (statement, _, expression) in enumerate(FORMS.values()):
        files[f"mypkg/at_top{number}.py"] = f"{statement}\n\n\ndef side():\n    return {expression}\n"
        inner = textwrap.indent(statement, "    ")
        if "*" not in statement:
            files[f"mypkg/within{number}.py"] = f"def side():\n{inner}\n    return {expression}\n"
    return files


def test_every_form_of_import_leads_to_its_own_side(repository, monkeypatch):
    revision = repository.commit(sides("there"))
    repository.write({"mypkg/core.py": "SIDE = 'here'\n", "mypkg/deep/__init__.py": "SIDE = 'here'\n"})
    modules = sorted(file.stem for file in (repository.folder / "mypkg").glob("*[0-9].py"))
    assert len(modules) == 2 * len(FORMS) - 1
    there = {name: revision.load(f"mypkg.{name}").side() for name in modules}
    assert there == dict.fromkeys(modules, "there")
    assert "mypkg" not in sys.modules
    monkeypatch.syspath_prepend(repository.folder)
    assert {name: here(f"mypkg.{name}").side() for name in modules} == dict.fromkeys(modules, "here")


@pytest.mark.parametrize("first", ["here", "there"])
def test_the_sides_share_no_state_and_no_class(repository, monkeypatch, first):
    files = {
        "mypkg/__init__.py": "import mypkg.state\n\n\ndef add(x):\n    mypkg.state.LIST.append(x)\n",
        "mypkg/state.py": "LIST = []\n\n\nclass Error(Exception):\n    pass\n",
    }
    revision = repository.commit(files)
    monkeypatch.syspath_prepend(repository.folder)
    loads = {"here": lambda: here("mypkg"), "there": lambda: revision.load("mypkg")}
    modules = {side: loads[side]() for side in sorted(loads, reverse=first == "there")}
    for side, module in modules.items():
        module.add(side)
    assert {side: module.state.LIST for side, module in modules.items()} == {"here": ["here"], "there": ["there"]}
    assert modules["here"].state.Error is not modules["there"].state.Error


LAYOUTS = {
    "flat": ("mypkg/__init__.py", "mypkg/core.py"),
    "src": ("src/mypkg/__init__.py", "src/mypkg/core.py"),
    "another folder": ("python/mypkg/__init__.py", "python/mypkg/core.py"),
    "a module": ("mypkg.py", "myhelper.py"),
    "a module in src": ("src/mypkg.py", "src/myhelper.py"),
    "a package and a module": ("src/mypkg/__init__.py", "src/myhelper.py"),
    "a namespace": ("src/mypkg/more.py", "src/mypkg/core.py"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout(repository, monkeypatch, layout):
    entry, core = LAYOUTS[layout]
    imported = "myhelper" if "helper" in core else "mypkg.core"
    module = "mypkg.more" if layout == "a namespace" else "mypkg"
    revision = repository.commit({entry: f"from {imported} import SIDE\n", core: "SIDE = 'there'\n"})
    repository.write({core: "SIDE = 'here'\n"})
    folder = core.split("/")[0] if "/" in core and not core.startswith("mypkg") else "."
    monkeypatch.syspath_prepend(repository.folder / folder)
    assert revision.load(module).SIDE == "there"
    assert here(module).SIDE == "here"


def test_packages_that_import_each_other(repository):
    revision = repository.commit(
        {
            "mypkg/__init__.py": "import myhelper\nSIDE = 'there'\n",
            "myhelper/__init__.py": "def side():\n    from mypkg import SIDE\n    return SIDE\n",
        }
    )
    assert revision.load("mypkg").myhelper.side() == "there"
    assert not {"mypkg", "myhelper"} & sys.modules.keys()


def test_other_peoples_packages_are_not_the_repositorys(repository):
    revision = repository.commit(
        {
            "mypkg/__init__.py": "import json\nimport numpy\n",
            "json.py": "",  # the standard library's is imported already, and comes first
            "numpy/make.py": "",  # a folder without __init__.py comes last
        }
    )
    module = revision.load("mypkg")
    assert module.json is json
    assert module.numpy is np


def test_what_is_not_there(repository):
    revision = repository.commit({"mypkg/__init__.py": "", "mypkg/core.py": ""})
    repository.write({"mypkg/later.py": "", "mymod.py": ""})
    assert revision.load("mypkg.core") is not None
    assert revision.load("mypkg.later") is None
    assert revision.load("mymod") is None


def test_only_files_with_such_imports_are_written(repository, monkeypatch):
    files = {
        "mypkg/__init__.py": "from . import core\n",
        "mypkg/core.py": "import os\n",
        "mypkg/absolute.py": "import mypkg.core\n",
        "mypkg/template.py": "import mypkg.core\n{% name %}\n",
        "mypkg/notes.txt": "import mypkg.core\n",
    }
    revision = repository.commit(files)
    written = []
    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda file, content: written.append(file.name) or write(file, content))
    folder = Path(revision.load("mypkg").__file__).parent
    assert written == ["absolute.py"]
    for name in files.keys() - {"mypkg/absolute.py"}:
        assert (folder / Path(name).name).read_text() == files[name]


def test_links_within_a_package_are_followed_and_broken_ones_left_alone(repository):
    repository.write(
        {"mypkg/__init__.py": "", "mypkg/core.py": "SIDE = 'there'\n", "mypkg/a.py": FORMS["the package"][0]}
    )
    (repository.folder / "mypkg/b.py").symlink_to("a.py")
    (repository.folder / "mypkg/c.py").symlink_to("nowhere.py")
    revision = repository.commit()
    assert revision.load("mypkg.b").mypkg is revision.load("mypkg.a").mypkg is revision.load("mypkg")


def test_a_package_that_cannot_be_unpacked_whole_is_refused_each_time(repository):
    repository.write({"mypkg/__init__.py": "import myhelper\n", "myhelper/__init__.py": ""})
    (repository.folder / "myhelper/outside").symlink_to("/")
    revision = repository.commit()
    for _ in range(2):
        with pytest.raises(RevisionError, match="cannot be unpacked safely"):
            revision.load("mypkg")


def test_tracebacks_and_sources_fit(repository):
    text = "import mypkg.core\nfrom mypkg.core import (\n    SIDE,\n)\n\n\ndef fail():\n    raise ValueError(SIDE)\n"
    revision = repository.commit({"mypkg/__init__.py": "", "mypkg/core.py": "SIDE = 'there'\n", "mypkg/a.py": text})
    module = revision.load("mypkg.a")
    with pytest.raises(ValueError, match="there") as error:
        module.fail()
    frame = traceback.extract_tb(error.tb)[-1]
    assert (frame.lineno, frame.line) == (8, "raise ValueError(SIDE)")
    assert inspect.getsource(module.fail) == "def fail():\n    raise ValueError(SIDE)\n"


def test_numba_caches_what_it_compiles(repository):
    text = "import numba\nfrom mypkg.core import SIDE\n\n\n@numba.njit(cache=True)\ndef side():\n    return SIDE\n"
    revision = repository.commit({"mypkg/__init__.py": "", "mypkg/core.py": "SIDE = 1\n", "mypkg/a.py": text})
    repository.write({"mypkg/core.py": "SIDE = 2\n"})
    module = revision.load("mypkg.a")
    assert module.side() == 1
    assert sum(module.side.stats.cache_misses.values()) == 1
    assert list(Path(module.side.stats.cache_path).glob("*.nbi"))


SUITE = """
import pytest
from mypkg import VARIANTS

@pytest.mark.parametrize("variant", VARIANTS)
def test_time(variant, benchmark):
    pass
"""


def test_the_list_of_benchmarks_is_the_revisions_in_spite_of_an_editable_install(repository, monkeypatch):
    revision = repository.commit(
        {
            "pytest.ini": "[pytest]\naddopts = -p pytest_benchmark.plugin\n",
            "src/mypkg/__init__.py": "VARIANTS = ['slow', 'fast']\n",
            "tests/test_toy.py": SUITE,
        }
    )
    repository.write({"src/mypkg/__init__.py": "VARIANTS = ['fast']\n"})
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(repository.folder / "src"))
    assert revision.benchmarks(["tests"]) == {f"tests/test_toy.py::test_time[{name}]" for name in ("slow", "fast")}


@pytest.mark.parametrize("folder", ["../elsewhere", ".venv/lib/python3.11/site-packages"])
def test_an_installed_copy_is_refused(repository, monkeypatch, folder):
    revision = repository.commit({"mypkg/__init__.py": "", ".gitignore": ".venv\n"})
    repository.write({f"{folder}/mypkg/__init__.py": ""})
    monkeypatch.syspath_prepend(repository.folder / folder)
    here("mypkg")
    with pytest.raises(RevisionError, match=r"mypkg is imported from .*, and HEAD .* would be compared with that"):
        revision.load("mypkg")
