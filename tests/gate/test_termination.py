"""A run that is terminated reports what it has measured, and is not green."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.waiting import wait_until

SLOW = """

def test_slow(duel):
    open("begun", "w").close()
    duel(work(0.05), work(0.01), floor=2)
    time.sleep(60)

def test_never(duel):
    duel(work(0.05), work(0.01), floor=2)
"""


@pytest.fixture
def terminated(pytester, suite, request):
    """Run a suite until its second test, and end it there: (status, output)."""
    suite(more=SLOW)
    environment = os.environ | {"PYTHONPATH": str(request.config.rootpath)}
    command = [sys.executable, "-m", "pytest", "--gate-json=report.json", "--benchmark-json=bench.json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as run:
        wait_until((pytester.path / "begun").exists, 60)
        time.sleep(0.3)
        run.send_signal(signal.SIGTERM)
        output, _ = run.communicate(timeout=60)
    return run.returncode, output


def test_what_was_measured_is_reported(terminated, pytester):
    status, output = terminated
    assert status == 128 + signal.SIGTERM
    assert "terminated (SIGTERM): what was measured is reported, and the rest is missing" in output
    assert "green" not in output
    report = json.loads((pytester.path / "report.json").read_text())
    assert report["outcome"]["status"] == status
    assert [duel["test"] for duel in report["duels"]] == ["test_toy.py::test_speedup"]
    assert [row["name"] for row in json.loads((pytester.path / "bench.json").read_text())["benchmarks"]] == [
        "test_speedup"
    ]


def test_another_handler_stays(pytester, suite):
    suite(more="\nimport signal\ndef test_handler():\n    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN\n")
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        pytester.runpytest("-k", "handler").assert_outcomes(passed=1, deselected=1)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


FORKS = """

import multiprocessing, signal

def test_child():
    for _ in range(200):
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        child.start()
        child.terminate()
        child.join(20)
        assert child.exitcode == -signal.SIGTERM
"""


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
def test_a_forked_child_can_be_terminated(pytester, suite, monkeypatch, request):
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))
    suite(more=FORKS)
    result = pytester.runpytest_subprocess("-k", "child", "-W", "ignore")
    result.assert_outcomes(passed=1, deselected=1)
