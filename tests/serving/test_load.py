"""The benchmark's own means of putting load on servers."""

import contextlib
import subprocess
import sys
import time

import psutil
import pytest

from benchmarks.load.serving import Halted

BUSY = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'], check=True)"


@pytest.fixture
def busy():
    """Start a process whose child is busy; they are ended with it."""
    with contextlib.ExitStack() as stack:

        def start():
            process = psutil.Process(stack.enter_context(subprocess.Popen([sys.executable, "-c", BUSY])).pid)
            while not process.children():
                time.sleep(0.01)
            (child,) = process.children()
            stack.callback(process.kill)
            stack.callback(child.kill)
            return process, child

        yield start


def used(child, seconds=0.3):
    time.sleep(0.05)  # a signal arrives, and what was used before it is accounted
    before = sum(child.cpu_times()[:2])
    time.sleep(seconds)
    return sum(child.cpu_times()[:2]) - before


def test_only_the_server_whose_turn_it_is_runs(busy):
    (one, its), (other, others) = busy(), busy()
    with contextlib.closing(Halted(one, other)) as halted:
        assert used(its) == used(others) == 0
        with halted.but_for(one):
            assert used(its) > 0
            assert used(others) == 0
        assert used(its) == 0
    assert used(its) > 0
    assert used(others) > 0
