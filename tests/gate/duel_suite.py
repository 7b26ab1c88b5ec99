"""A suite with one duel, for tests of runs that compare with no other revision."""

import pytest

from .toy_suite import SELFCHECKS

INI = """
[pytest]
addopts = -p benchmarks.gate.plugin --benchmark-storage=file://saved --benchmark-columns=median --strict-markers
filterwarnings = error
"""

SUITE = """
import time

def work(seconds):
    def run():
        time.sleep(seconds)  # noisy neighbours prolong a sleep less than work
        return 7
    return run

def same(reference, candidate):
    assert reference == candidate, "wrong result"

def test_speedup(duel):
    found = duel(work({reference}), work({candidate}), floor={floor}, check={check})
    assert found.pairs == 0 or found.ratio > 1
"""


@pytest.fixture
def suite(pytester, monkeypatch, quick_self_checks):
    monkeypatch.setattr("pytest_benchmark.plugin.get_cpu_info", dict)  # it takes a second
    pytester.makeini(INI)

    def write(reference=0.005, candidate=0.001, floor=2, check="same", more=""):
        text = SUITE.format(reference=reference, candidate=candidate, floor=floor, check=check)
        pytester.makepyfile(test_toy=text + more)

    write()
    return write


def run(pytester, *options, compares=False, **outcomes):
    """Run and count; a run that compares passes its own three tests besides."""
    result = pytester.runpytest_inprocess("--duel-seed=1", *options)
    outcomes = outcomes or {"passed": 1}
    if compares:
        outcomes["passed"] = outcomes.get("passed", 0) + SELFCHECKS
    result.assert_outcomes(**outcomes)
    return result


def saved_file(pytester):
    (path,) = (pytester.path / "saved").rglob("*.json")
    return path
