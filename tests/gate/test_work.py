"""A benchmark that does less than the other revision's own is red, in the small repository of toy_suite."""

import json
from pathlib import Path

import jsonschema
import pytest

from benchmarks.gate.report import json_report

from .toy_suite import CASE, SUITE, commit, run

# Up to a thousand rows fit the cache, say: a slower kernel shows beyond them only.
ROWS = """
import sys, time

def steady(rows):
    time.sleep(0.001 + 2e-6 * rows)
    return list(range(rows))

def other(rows):
    {other}
    return list(range(rows))

VARIANTS = {{"steady": steady, "other": other}}
"""
KERNEL = "time.sleep(0.001 + 2e-6 * rows)"
SLOWED = "time.sleep((0.001 + 2e-6 * rows) * (3 if rows > 1000 else 1))"
SIZED = SUITE.replace("lambda work: work", "lambda work: lambda: work(ROWS)").replace("def same", "ROWS = 2000\n\ndef same")


@pytest.fixture
def rows(repository):
    """Two variants that return as many rows as their benchmark asks for; returns what writes both anew."""

    def write(other=KERNEL, benchmarks=SIZED):
        repository(other=other, text=ROWS, benchmarks=benchmarks)

    return write


@pytest.fixture
def sized(pytester, rows):
    rows()
    commit(pytester, "rows")
    return rows


def gate(pytester):
    return json.loads((pytester.path / "gate.json").read_text())["revision"]


def test_fewer_rows_beside_a_kernel_that_is_slower_at_the_old_size(pytester, sized):
    sized(other=SLOWED, benchmarks=SIZED.replace("2000", "200"))
    result = run(pytester, "--gate-json=gate.json", "--gate-report=gate.md", passed=0, failed=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "E *toy test_revision[[]other[]]: its work shrank: compared with the benchmark of HEAD (*), and with the same "
            "package, its result has size 200 and not 2000, *--removed 'test_revision[[]other[]]'",
            "work of the benchmark *",
            "toy test_revision[[]other[]] *shrank* 2000 * 200",
            "files of the benchmarks differ at HEAD (*) (suite/test_toy.py), so its own ran once, for their work: 2 in *",
            "*; work: 2 shrank*",
        ]
    )
    found = json.loads((pytester.path / "gate.json").read_text())
    schema = json.loads(Path(json_report.__file__).with_name("gate.schema.json").read_text())
    jsonschema.validate(found, schema)
    assert {row["verdict"] for row in found["revision"]["benchmarks"]} == {"same"}  # the duels alone do not see it
    row = found["revision"]["work"][1]
    assert row["there"]["shape"][""] == {"kind": "list", "least": [2000], "greatest": [2000]}
    assert row["here"]["shape"][""]["greatest"] == [200]
    assert "| toy test_revision[other] " in (pytester.path / "gate.md").read_text()


def test_a_benchmark_that_became_larger(pytester, sized):
    sized(benchmarks=SIZED.replace("2000", "2500"))
    run(pytester).stdout.fnmatch_lines(["toy test_revision[[]other[]] *kept* 2000 * 2500"])
