"""`lint-imports` detects an import across each boundary between packages. `make lint` runs it on the tree itself."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FORBIDDEN_IMPORTS = {
    "impl imports benchmarks": ("impl/counter/log.py", "import benchmarks.gate", "impl/ never imports benchmarks/"),
    "a case imports another": ("impl/counter/log.py", "from ..augmentation import config", "no case imports another"),
    "shared imports a case": ("impl/shared/cores.py", "from ..counter import log", "what they share imports no case"),
    "runtime imports http": ("impl/serving/runtime/batching.py", "from ..http import errors", "serving: HTTP on top"),
    "model imports runtime": (
        "impl/serving/model/weights.py",
        "from ..runtime import batching",
        "serving: HTTP on top",
    ),
    "the gate imports a case": ("benchmarks/gate/plugin/hooks.py", "import impl.counter", "the gate imports no case"),
    "measure imports judge": ("benchmarks/gate/measure/duel.py", "from ..judge import rules", "wings form a stack"),
    "judge imports report": ("benchmarks/gate/judge/rules.py", "from ..report import tables", "wings form a stack"),
    "a cycle": ("impl/counter/log.py", "from . import baseline", "no circle of imports"),
}


@pytest.fixture
def lint_imports(tmp_path):
    """Return a function that runs the linter on a copy of the packages, and returns its status and what it printed."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in ("impl", "benchmarks"):
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "baselines", "records")
        )

    def run():
        done = subprocess.run(
            [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_the_tree_has_no_forbidden_import(lint_imports):
    status, output = lint_imports()
    assert status == 0, output


@pytest.mark.parametrize(("file", "line", "contract"), FORBIDDEN_IMPORTS.values(), ids=FORBIDDEN_IMPORTS)
def test_a_forbidden_import_fails(file, line, contract, lint_imports, tmp_path):
    with (tmp_path / file).open("a", encoding="utf-8") as module:
        module.write(f"\n{line}\n")
    status, output = lint_imports()
    assert status == 1, output
    broken = output.partition("Broken contracts")[2]
    assert contract in broken
