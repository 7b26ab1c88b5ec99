"""The servers that benchmarks start: which of them run at the same time, and that none stays behind."""

import contextlib

import psutil
import pytest

from benchmarks.load.servers import ServerPool

SERVER = ("-c", "import sys, time; print('http://127.0.0.1:' + sys.argv[1], flush=True); time.sleep(60)")
BROKEN = ("-c", "print('no model', flush=True)")


def server(port):
    return (*SERVER, str(port))


@pytest.fixture
def pool():
    with contextlib.closing(ServerPool(size=2)) as servers:
        yield servers


def running(*started):
    return [process.is_running() and process.status() != psutil.STATUS_ZOMBIE for _, process in started]


def test_the_last_servers_keep_running(pool):
    one, two = pool.start(*server(1)), pool.start(*server(2))
    assert pool.start(*server(1)) is one, "still running, and the most recently used"
    three = pool.start(*server(3))
    assert running(one, two, three) == [True, False, True]
    assert [url for url, _ in (one, two, three)] == [f"http://127.0.0.1:{port}" for port in (1, 2, 3)]


def test_servers_that_are_needed_together_run_together(pool):
    """Whatever the size is; the next server that is started alone ends all but one of them."""
    one, two = pool.start(*server(1)), pool.start(*server(2))
    group = pool.start_all(server(2), server(3), server(4))
    assert group[0] is two
    assert running(one, *group) == [False, True, True, True]
    assert pool.start_all(server(2), server(3), server(4)) == group
    five = pool.start(*server(5))
    assert running(*group, five) == [False, False, True, True]


def test_a_server_that_does_not_start_leaves_none_behind():
    before = psutil.Process().children()
    with contextlib.closing(ServerPool()) as pool:
        with pytest.raises(RuntimeError, match="printed no address, but 'no model"):
            pool.start_all(server(1), BROKEN)
        (_, process) = pool.start(*server(1))
    assert not process.is_running()
    assert not [child for child in psutil.Process().children() if child not in before]
