"""`lint-imports` detects an import across each boundary between packages. `make lint` runs it on the tree itself."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# The file, the line that is added to it, the contract that this breaks, and the import that the linter names below it.
FORBIDDEN_IMPORTS = {
    "impl imports benchmarks": (
        "impl/counter/log.py",
        "import benchmarks.gate",
        "impl/ never imports benchmarks/",
        "impl.counter.log -> benchmarks.gate (",
    ),
    "a case imports another": (
        "impl/counter/log.py",
        "from ..augmentation import config",
        "no case imports another",
        "impl.counter.log -> impl.augmentation.config (",
    ),
    "shared imports a case": (
        "impl/shared/cores.py",
        "from ..counter import log",
        "what they share imports no case",
        "impl.shared.cores -> impl.counter.log (",
    ),
    "runtime imports http": (
        "impl/serving/runtime/batching.py",
        "from ..http import errors",
        "serving: HTTP on top",
        "impl.serving.runtime.batching -> impl.serving.http.errors (",
    ),
    "model imports runtime": (
        "impl/serving/model/weights.py",
        "from ..runtime import batching",
        "serving: HTTP on top",
        "impl.serving.model.weights -> impl.serving.runtime.batching (",
    ),
    "the gate imports a case": (
        "benchmarks/gate/plugin/hooks.py",
        "import impl.counter",
        "the gate imports no case",
        "benchmarks.gate.plugin.hooks -> impl.counter (",
    ),
    "measure imports judge": (
        "benchmarks/gate/measure/duel.py",
        "from ..judge import rules",
        "wings form a stack",
        "benchmarks.gate.measure.duel -> benchmarks.gate.judge.rules (",
    ),
    "judge imports report": (
        "benchmarks/gate/judge/rules.py",
        "from ..report import tables",
        "wings form a stack",
        "benchmarks.gate.judge.rules -> benchmarks.gate.report.tables (",
    ),
    "a cycle": (
        "impl/counter/log.py",
        "from . import baseline",
        "no circle of imports",
        "impl.counter.\nIt could be made acyclic by removing 1 dependency:\n\n- .log -> .baseline (",
    ),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the packages and of the linter's settings."""
    folder = tmp_path_factory.mktemp("walls")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in ("impl", "benchmarks"):
        shutil.copytree(
            ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "baselines", "records")
        )
    return folder


def lint_imports(folder):
    """Run the linter; return its status and what it printed."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def sections(copy):
    """What the linter prints about each broken contract, after a run on the tree as it is, and one with all imports.

    The linter names every forbidden import, so one run is enough for all.
    """
    status, output = lint_imports(copy)
    assert status == 0, output
    for file, line, *_ in FORBIDDEN_IMPORTS.values():
        with (copy / file).open("a", encoding="utf-8") as module:
            module.write(f"\n{line}\n")
    status, output = lint_imports(copy)
    assert status == 1, output
    title, *texts = re.split(r"^(.+)\n-{5,}\n", output.partition("Broken contracts")[2], flags=re.MULTILINE)
    assert set(title.strip()) == {"-"}, output
    return dict(zip(texts[::2], texts[1::2], strict=True))


def test_the_tree_has_no_forbidden_import_and_every_contract_can_break(sections):
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    assert list(sections) == [contract["name"] for contract in contracts]


@pytest.mark.parametrize(("contract", "named"), [row[2:] for row in FORBIDDEN_IMPORTS.values()], ids=FORBIDDEN_IMPORTS)
def test_a_forbidden_import_fails(contract, named, sections):
    (text,) = (text for name, text in sections.items() if contract in name)
    assert named in text
