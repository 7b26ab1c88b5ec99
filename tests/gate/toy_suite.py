"""A small repository with a package, its benchmarks and one commit, for tests of `--against`."""

import subprocess

import pytest

INI = """
[pytest]
addopts = -p pytest_benchmark.plugin -p benchmarks.gate.plugin
    --benchmark-storage=file://saved --benchmark-columns=median --strict-markers
filterwarnings = error
pythonpath = .
testpaths = suite
"""

CASE = """
import sys, time

def steady():
    time.sleep(0.003)
    return 7

def other():
    {other}
    return 7

VARIANTS = {{"steady": steady, "other": other}}
"""

SUITE = """
import pytest
from toylib.case import VARIANTS

def same(expected, found):
    assert expected == found, f"{found} and not {expected}"

@pytest.mark.parametrize("variant", VARIANTS)
def test_revision(variant, against):
    against("toylib.case", variant, lambda work: work, check=same)

def test_plain():
    pass
"""

SELFCHECKS = 3
CONTROL_AND_CANARY = 2
SLEEP = "time.sleep(0.004)"  # noisy neighbours prolong a sleep less than work


def git(pytester, *arguments):
    subprocess.run(["git", *arguments], cwd=pytester.path, check=True)


def commit(pytester, message):
    git(pytester, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qam", message)


def run(pytester, *options, passed=2, failed=0, **others):
    result = pytester.runpytest_inprocess("--against=HEAD", "--duel-seed=1", *options)
    result.assert_outcomes(passed=passed + SELFCHECKS, failed=failed, deselected=1, **others)
    return result


def refused(pytester, *options):
    """Run what must end before any test, with a message and no traceback."""
    result = pytester.runpytest_inprocess(*options)
    text = result.stdout.str() + result.stderr.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR, text
    assert "INTERNALERROR" not in text
    assert "Traceback" not in text
    return text
