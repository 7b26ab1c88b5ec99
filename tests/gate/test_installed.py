"""The gate as another repository has it: installed from its wheel, by the lines of README."""

import ast
import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from .wheels import write_shared, write_wheel

pytestmark = pytest.mark.serial

ROOT = Path(__file__).parents[2]
GATE = ROOT / "benchmarks/gate"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SECTION = re.search(
    r"^## The gate in another repository\n(.*?)^## ",
    (ROOT / "README.md").read_text(encoding="utf-8"),
    re.DOTALL | re.MULTILINE,
)[1]
INSTALL, COMMAND = (line.partition("#")[0].split() for line in re.findall(r"^    (p.*)$", SECTION, re.MULTILINE))
FILE, SUITE = re.search(r"^```python\n# (\S+)\n(.*?)^```", SECTION, re.DOTALL | re.MULTILINE).groups()

# Absolute imports, and sleeps, which noisy neighbours prolong less than work.
PACKAGE = {
    "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["src"]\nfilterwarnings = ["error"]\n',
    "src/mypkg/__init__.py": "",
    "src/mypkg/seconds.py": "SECONDS = 0.003\n",
    "src/mypkg/sums.py": """
import time

import mypkg.seconds
from mypkg.adding import add


def built_in():
    time.sleep(mypkg.seconds.SECONDS)
    return add(range(100))


VARIANTS = {"built_in": built_in}
""",
    "src/mypkg/adding.py": "def add(numbers):\n    return sum(numbers)\n",
    ".gitignore": "__pycache__\n.pytest_cache\n.benchmarks\n",
}
SLOWED = "SECONDS = 0.006\n"

OTHER_FIXTURES = """
import time

from mypkg.sums import VARIANTS


def slow():
    time.sleep(0.02)
    return VARIANTS["built_in"]()


def fill(size):
    return bytearray(b"1") * size


def test_speedup(duel):
    duel(slow, VARIANTS["built_in"], floor=2)


def test_memory(peak_memory, ceiling, note):
    small, large = peak_memory(fill, 10_000_000), peak_memory(fill, 100_000_000)
    note("size", small, "B")
    ceiling(large, small, 0.5)
"""

# The self-checks of each run are shortened: the least pairs, and 50 % for 5.
CONFTEST = """
from performance_gate.measure.duel import run_duel
from performance_gate.measure.workloads import slowed


def run(name, reference, candidate, questions, **settings):
    if name == "control":
        settings["budget"] = 0
    if name == "canary":
        candidate = slowed(reference, 0.5)
    return run_duel(name, reference, candidate, questions, **settings)


def pytest_gate_runner():
    return run
"""


class Elsewhere:
    """A repository that is not ours, and an environment with the gate."""

    def __init__(self, folder, python):
        self.folder, self.python = folder, python

    def write(self, files):
        for name, text in files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text, encoding="utf-8")

    def commit(self):
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "a change"]):
            command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *words]
            subprocess.run(command, cwd=self.folder, check=True)

    def run(self, *words, folder=None):
        """Run Python; return its status and what it printed."""
        inherited = {
            name: text for name, text in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON", "GITHUB_"))
        }
        command = [self.python, "-m", *words]
        done = subprocess.run(
            command, cwd=folder or self.folder, env=inherited, capture_output=True, text=True, timeout=200, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def verdict(self):
        """Run README's command; return pytest's status, the verdict, and what was printed."""
        python, *words = COMMAND
        assert python == "python"
        status, output = self.run(*words[1:], "--gate-json=gate.json", "--duel-seed=1")
        report = self.folder / "gate.json"
        assert report.exists(), output
        (row,) = json.loads(report.read_text(encoding="utf-8"))["revision"]["benchmarks"]
        report.unlink()
        return status, row["verdict"], output


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """An interpreter of a new environment: README's line installs the gate, all else is this environment's."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    python = Path(paths["scripts"], "python")
    Path(paths["purelib"], "shared.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    assert INSTALL[:2] == ["pip", "install"]
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    subprocess.run([python, "-m", *INSTALL[:2], *options, ROOT], check=True, timeout=200)
    return python


@pytest.fixture
def elsewhere(tmp_path, python):
    repository = Elsewhere(tmp_path, python)
    repository.write(PACKAGE | {FILE: SUITE, "conftest.py": CONFTEST})
    repository.commit()
    return repository


def test_readmes_lines_find_a_slowdown_and_none_in_what_is_the_same(elsewhere):
    status, verdict, output = elsewhere.verdict()
    assert (status, verdict) == (0, "same"), output
    elsewhere.write({"src/mypkg/seconds.py": SLOWED})
    status, verdict, output = elsewhere.verdict()
    assert (status, verdict) == (1, "slower"), output
    assert "confirmed in 3 of " in output


def test_another_lock_takes_two_environments_that_get_this_gate(elsewhere, tmp_path_factory, monkeypatch):
    wheels = tmp_path_factory.mktemp("wheels")
    write_shared(wheels)  # all that the gate imports, and not the gate
    for version in ("1", "2"):
        write_wheel(wheels, "toydep", version, {"toydep.py": ""})
    settings = f"gate_install = '--no-index --offline --find-links {wheels} -r requirements.txt'\n"
    elsewhere.write({"pyproject.toml": PACKAGE["pyproject.toml"] + settings})
    elsewhere.write({"requirements.txt": "shared==1\ntoydep==1\n"})
    elsewhere.commit()
    elsewhere.write({"requirements.txt": "shared==1\ntoydep==2\n"})
    monkeypatch.setenv("PERFORMANCE_GATE_CACHE", str(wheels))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # where uv is
    status, verdict, output = elsewhere.verdict()
    assert (status, verdict) == (0, "same"), output
    assert "each side ran in an environment of its own (requirements.txt): toydep 1 -> 2" in output


def test_the_other_fixtures(elsewhere):
    elsewhere.write({"benchmarks/test_more.py": OTHER_FIXTURES})
    status, output = elsewhere.run("pytest", "benchmarks", "--duel-seed=1")
    assert status == 0, output
    assert re.search(r"more test_speedup +floor holds", output), output
    assert re.search(r"\b2 passed, 1 deselected", output), output


def test_the_programs(elsewhere):
    status, output = elsewhere.run("performance_gate.compare.bisect", "HEAD", "HEAD")
    assert (status, "the same commit" in output) == (2, True), output
    status, output = elsewhere.run("performance_gate.calibration", "--help")
    assert (status, "usage: python -m performance_gate.calibration" in output) == (0, True), output


def test_where_the_gate_is_installed_this_repository_still_loads_its_own(elsewhere):
    status, output = elsewhere.run("pytest", "--collect-only", "-q", "tests/gate/test_machine.py", folder=ROOT)
    assert status == 0, output


def name(requirement):
    """Return the distribution that a requirement is about."""
    return re.match(r"[\w-]+", requirement)[0]


def test_the_distribution_has_the_gate_and_declares_what_it_imports(elsewhere):
    code = (
        "import importlib.metadata, json; found = importlib.metadata.distribution('ml-performance-suite'); "
        "print(json.dumps([found.requires, [str(file) for file in found.files]]))"
    )
    done = subprocess.run(
        [elsewhere.python, "-c", code], cwd=elsewhere.folder, capture_output=True, text=True, check=True
    )
    requires, files = json.loads(done.stdout)
    assert sorted(map(name, (line for line in requires if "extra ==" not in line))) == sorted(
        map(name, PROJECT["dependencies"])
    )
    ours = {
        f"performance_gate/{file.relative_to(GATE).as_posix()}"
        for file in GATE.rglob("*")
        if file.suffix in {".css", ".html", ".jinja", ".json", ".py"}
    }
    assert {file for file in files if ".dist-info" not in file and "__pycache__" not in file} == ours


def imported_by(*files):
    """Return the distributions whose modules these files import at once, and not within functions."""
    imported = set()
    for file in files:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                imported |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.partition(".")[0])
    distributions_of = packages_distributions()
    return {one.lower() for top in imported - sys.stdlib_module_names for one in distributions_of[top]}


def test_what_the_gate_imports_at_once_is_a_dependency_and_the_rest_is_within_functions():
    page = set((GATE / "report/page").rglob("*.py"))
    assert imported_by(*set(GATE.rglob("*.py")) - page) == {*map(name, PROJECT["dependencies"])}
    assert imported_by(*page) <= {*map(name, PROJECT["optional-dependencies"]["report"])}


def test_the_page_of_an_installed_gate(elsewhere):
    status, output = elsewhere.run("pytest", "benchmarks", "--gate-html=out/page.html", "--gate-json=gate.json")
    assert status in {0, 5}, output
    page = (elsewhere.folder / "out/page.html").read_text(encoding="utf-8")
    status, output = elsewhere.run("performance_gate.report.page", "gate.json")
    assert status == 0, output
    assert (elsewhere.folder / "gate.html").read_text(encoding="utf-8") == page
