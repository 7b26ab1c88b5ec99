"""What the benchmark loads servers with: one server at a time, and requests at a steady rate."""

import contextlib
import subprocess
import sys
import time

import psutil
import pytest

from benchmarks.load.overload import overload
from benchmarks.load.servers import SuspendedServers, running
from impl.serving.client import Answer
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


def test_a_server_that_does_not_start_is_ended_with_its_children():
    """A child that has its output would otherwise keep whoever waits for the address waiting."""
    start, child = time.perf_counter(), [sys.executable, "-c", "import time; time.sleep(60)"]
    server = f"import subprocess, time; subprocess.Popen({child}); time.sleep(60)"
    with pytest.raises(RuntimeError, match="printed no address, but ''"), running("-c", server, timeout=2):
        pass
    assert time.perf_counter() - start < 30


class SlowConnection:
    """A connection to a server that takes 0.1 s for each request, and says that it took none."""

    def __init__(self, _url):
        pass

    def post(self, *_body):
        time.sleep(0.1)
        return Answer(429, {}, {}, 0.0)

    def close(self):
        pass


def test_a_request_that_waits_for_a_free_client_has_waited(monkeypatch):
    """Ten requests are due within 0.1 s. One client sends the last of them 0.8 s after it was due."""
    monkeypatch.setattr("benchmarks.load.overload.Connection", SlowConnection)
    outcome = overload("http://nowhere", psutil.Process(), rate=100, seconds=0.1, clients=1)
    assert len(outcome.refused) == 10
    assert max(outcome.refused) >= 0.9
    assert min(outcome.refused) >= 0.1
