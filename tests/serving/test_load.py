"""`SuspendedServers`, with which the benchmark lets one server run at a time."""

import contextlib
import subprocess
import sys
import time

import psutil
import pytest

from benchmarks.load.servers import SuspendedServers
from tests.waiting import wait_until

BUSY = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'], check=True)"


@pytest.fixture
def busy():
    """Start a process with a busy child; both are killed at the end."""
    with contextlib.ExitStack() as stack:

        def start():
            process = psutil.Process(stack.enter_context(subprocess.Popen([sys.executable, "-c", BUSY])).pid)
            wait_until(process.children)
            (child,) = process.children()
            stack.callback(process.kill)
            stack.callback(child.kill)
            return process, child

        yield start


def cpu_seconds(child, seconds=0.3):
    time.sleep(0.05)  # wait until the signal has arrived and earlier CPU time is recorded
    before = sum(child.cpu_times()[:2])
    time.sleep(seconds)
    return sum(child.cpu_times()[:2]) - before


@pytest.mark.serial
def test_only_the_server_whose_turn_it_is_runs(busy):
    (one, one_child), (other, other_child) = busy(), busy()
    with contextlib.closing(SuspendedServers(one, other)) as servers:
        assert cpu_seconds(one_child) == cpu_seconds(other_child) == 0
        with servers.turn_of(one):
            assert cpu_seconds(one_child) > 0
            assert cpu_seconds(other_child) == 0
        assert cpu_seconds(one_child) == 0
    assert cpu_seconds(one_child) > 0
    assert cpu_seconds(other_child) > 0
