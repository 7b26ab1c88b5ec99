"""A variant or a case can be added without changing anything else: these tests add one of each to a clone.

No code outside a variant's own module refers to the best variant by name.
"""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


class Clone:
    """A clone of the last commit, in which tests run as a user runs them."""

    def __init__(self, folder):
        self.folder = folder
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, folder], check=True)

    def write(self, path, text):
        (self.folder / path).parent.mkdir(exist_ok=True)
        (self.folder / path).write_text(text, encoding="utf-8")

    def edit(self, path, old, new):
        text = (self.folder / path).read_text(encoding="utf-8")
        assert text.count(old) == 1
        (self.folder / path).write_text(text.replace(old, new), encoding="utf-8")

    def pytest(self, *arguments, **environment):
        """Run pytest on the clone's own modules; return its output, and its outcomes as {"passed": 3, ...}."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH"))
        }
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            cwd=self.folder,
            env=inherited | {"PYTHONDONTWRITEBYTECODE": "1"} | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        output = done.stdout + done.stderr
        summary = output.rstrip().rpartition("\n")[2]
        outcomes = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|skipped|errors?)\b", summary)}
        return output, outcomes

    def changed(self):
        """Return the changed files, one line of `git status --porcelain` per file."""
        command = ["git", "status", "--porcelain"]
        return subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path / "clone")


TOY_VARIANT = '''
"""A toy: it counts on the CPU, and claims to need a GPU."""

import os

from . import locked, sequential


def missing():
    return None if "TOY_GPU" in os.environ else "there is no GPU that CUDA can use"


def run(log_path, threads=15, limit=100_000, start_delay=0.0):
    result = sequential.run(log_path, threads, limit, start_delay)
    if os.environ["TOY_GPU"] == "wrong" and threads > 1:
        log_path.write_bytes(b"\\n\\n".join(log_path.read_bytes().split(b"\\n\\n")[1:]))
    return result
'''


def test_adding_a_variant_takes_one_file_and_one_line(clone):
    collected, _ = clone.pytest("benchmarks", "-q", "--full", "--collect-only", "--ignore=benchmarks/test_serving.py")
    clone.write("impl/counter/on_gpu.py", TOY_VARIANT)
    clone.edit(
        "impl/counter/__init__.py", "from . import baseline, locked, ", "from . import baseline, locked, on_gpu, "
    )
    clone.edit(
        "impl/counter/__init__.py",
        "\n}\n",
        '\n    "on_gpu": Variant(on_gpu.run, ORDERED_LOG, device="cuda", unsupported=on_gpu.missing, best=True),\n}\n',
    )
    assert clone.changed() == [" M impl/counter/__init__.py", "?? impl/counter/on_gpu.py"]

    def tests(output):
        return {line for line in output.splitlines() if "::" in line}

    collected_now, _ = clone.pytest(
        "benchmarks", "-q", "--full", "--collect-only", "--ignore=benchmarks/test_serving.py"
    )
    added = tests(collected_now) - tests(collected)
    assert tests(collected) < tests(collected_now)
    assert {re.sub(r"\[.*", "", test.rpartition("::")[2]) for test in added} == {
        "test_matches",
        "test_time",
        "test_memory",
        "test_scaling",
    }
    assert all("on_gpu" in test for test in added)

    run = "benchmarks/test_counter.py", "-rs", "--full", "--benchmark-disable", "-k"
    output, outcomes = clone.pytest(*run, "on_gpu")
    assert outcomes == {"skipped": len(added)}, output
    assert "there is no GPU that CUDA can use" in output

    output, outcomes = clone.pytest(*run, "on_gpu and matches", TOY_GPU="right")
    assert outcomes == {"passed": 6}, output
    output, outcomes = clone.pytest(*run, "on_gpu and matches", TOY_GPU="wrong")
    assert outcomes["failed"] == 5, output  # every limit except 0
    assert "missing; count 1 is missing" in output


NEW_CASE = {
    "impl/sorting/__init__.py": '''
"""Sort a list of ints."""

from ..variant import Promise, Variant
from . import baseline, optimised

ASCENDING = Promise("ascending")

VARIANTS = {
    "baseline": Variant(baseline.build, ASCENDING),
    "optimised": Variant(optimised.build, ASCENDING, best=True),
}
''',
    "impl/sorting/baseline.py": '''
"""Insertion sort."""


def build(numbers):
    result = []
    for number in numbers:
        place = len(result)
        while place and result[place - 1] > number:
            place -= 1
        result.insert(place, number)
    return result
''',
    "impl/sorting/optimised.py": '''
"""Python's own sort."""


def build(numbers):
    return sorted(numbers)
''',
    "benchmarks/test_sorting.py": '''
"""Claim: Python's own sort is faster than insertion sort."""

import random
from functools import partial

import pytest

from impl.sorting import ASCENDING, VARIANTS
from impl.variant import best_of

BASELINE, BEST = next(iter(VARIANTS)), best_of(VARIANTS)
SIZES = {1: 5, 300: 5}
FLOORS = dict(optimised=5)
NUMBERS = random.Random(1).choices(range(1000), k=300)


def assert_ascending(expected, result):
    assert result == expected, "the numbers are not in ascending order"


CHECKS = {ASCENDING.kind: assert_ascending}


def check_of(variant):
    return CHECKS[VARIANTS[variant].promise.kind]


@pytest.mark.parametrize("count", [0, 1, 7])
@pytest.mark.parametrize("variant", list(VARIANTS)[1:])
def test_matches(variant, count):
    check_of(variant)(VARIANTS[BASELINE](NUMBERS[:count]), VARIANTS[variant](NUMBERS[:count]))


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_time(variant, count, benchmark, note):
    result = benchmark.pedantic(VARIANTS[variant], (NUMBERS[:count],), rounds=SIZES[count])
    note("numbers", len(result))


@pytest.mark.parametrize("variant", FLOORS)
def test_speedup(variant, duel):
    duel(*(partial(VARIANTS[name], NUMBERS) for name in (BASELINE, variant)), floor=5, check=check_of(variant))


@pytest.mark.parametrize("variant", VARIANTS)
def test_revision(variant, against):
    against("impl.sorting", variant, lambda build: partial(build, NUMBERS), check=assert_ascending)
''',
}


def test_adding_a_case_takes_one_folder_and_one_module(clone):
    for path, text in NEW_CASE.items():
        clone.write(path, text.lstrip())
    assert clone.changed() == ["?? benchmarks/test_sorting.py", "?? impl/sorting/"]
    run = "benchmarks", "-k", "sorting", "--benchmark-disable", "--ignore=benchmarks/test_evaluation.py"
    output, outcomes = clone.pytest(*run)
    assert outcomes == {"passed": 3 + 4 + 1}, output

    clone.edit("impl/sorting/optimised.py", "sorted(numbers)", "sorted(numbers, reverse=True)")
    output, outcomes = clone.pytest("benchmarks/test_sorting.py", "--benchmark-disable")
    assert outcomes == {"passed": 2 + 4, "failed": 1 + 1}, output  # zero numbers and one number are always in order
    assert "the numbers are not in ascending order" in output


NAME = "optimised"


def uses_of_the_name(source):
    """Return the numbers of the lines with the best variant's name as a string, except keys of the dict VARIANTS."""
    tree = ast.parse(source)
    variant_keys = set()
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "VARIANTS" for target in targets):
            variant_keys |= {id(key) for key in node.value.keys}
    strings = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and node.value == NAME]
    return [node.lineno for node in strings if id(node) not in variant_keys]


def test_the_search_for_names_detects_every_spelling():
    assert (
        uses_of_the_name('VARIANTS = {"optimised": 1}\nVARIANTS: dict = {"optimised": 1}\n"""Of "optimised"."""') == []
    )
    assert uses_of_the_name("a = {'optimised': 1}\nb = VARIANTS['optimised']\nif b == \"optimised\": pass") == [1, 2, 3]
    assert uses_of_the_name('def f(variant="optimised"): pass\nc = ("exact", "optimised")') == [1, 2]


@pytest.mark.parametrize("folder", ["impl", "benchmarks"])
def test_no_module_refers_to_the_best_variant_by_name(folder):
    uses = {
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in uses_of_the_name(path.read_text(encoding="utf-8"))
    }
    assert not uses, f"use an attribute of the Variant, or best_of(VARIANTS): {sorted(uses)}"
