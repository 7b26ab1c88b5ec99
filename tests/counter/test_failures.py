"""When a thread dies or the disk is full, every variant raises the error and no thread hangs.

`optimised` also promises that the log is then a prefix of the complete log, made of whole entries.
"""

import _thread
import errno
import inspect
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from impl.counter import VARIANTS, check_log, optimised
from impl.counter.threads import wait

ROOT = Path(__file__).parents[2]


of_the_main_thread = pytest.mark.thread_unsafe(reason="a signal interrupts the main thread only")


class Death(BaseException):
    """A BaseException, so that `except Exception` does not catch it."""


@pytest.fixture(autouse=True)
def no_thread_is_left_running():
    before = _thread._count()
    yield
    deadline = time.monotonic() + 5
    while _thread._count() > before and time.monotonic() < deadline:
        time.sleep(0.001)  # a thread has signalled its end, but the interpreter has not removed it yet
    assert _thread._count() == before


def assert_prefix(path, *, shorter_than):
    report = check_log(path, check_log(path, 0).entries)
    assert report.ok, report
    assert report.entries < shorter_than
    return report.entries


def die_at_call(number, function):
    """Return `function`, except that its nth call raises Death."""
    calls = iter(range(1, 10**9))

    def dying(*args, **kwargs):
        if next(calls) == number:
            raise Death(number)
        return function(*args, **kwargs)

    return dying


@pytest.mark.parametrize("call", [1, 2, 4, 9, 14])
@pytest.mark.parametrize("step", ["claim", "read_clock", "entries", "write_all"])
def test_a_thread_dies_in_any_step(step, call, tmp_path, monkeypatch):
    monkeypatch.setattr(optimised, step, die_at_call(call, getattr(optimised, step)))
    with pytest.raises(Death):
        VARIANTS["optimised"](tmp_path / "log")
    assert_prefix(tmp_path / "log", shorter_than=100_000)


def test_a_thread_dies_at_any_line(tmp_path, monkeypatch):
    """Thread 2 is killed at the first line it runs in the loop, in the next run at the second line, and so on.

    Two kinds of lines are skipped: the error handler, and lines that call nothing, where no exception can occur. A
    tracer can raise one even there, between a `with` and taking its lock, and then no Python lock would be released.
    """
    count_up = optimised.count_up
    codes = {count_up.__code__, optimised.claim.__code__}
    source, first = inspect.getsourcelines(count_up)
    skipped_starts = ("with ", "try:", "break", "except", "shared.halt.set", "raise")
    skipped = {first + n for n, line in enumerate(source) if line.strip().startswith(skipped_starts)}
    remaining = deaths = 0

    def trace(frame, event, arg):
        nonlocal remaining
        if event == "line" and frame.f_lineno not in skipped:
            remaining -= 1
            if not remaining:
                raise Death(frame.f_lineno)
        return trace

    def traced(shared, thread, write, share):
        if thread == 2:
            sys.settrace(lambda frame, event, arg: trace if frame.f_code in codes else None)
        try:
            return count_up(shared, thread, write, share, block=10)
        finally:
            sys.settrace(None)

    monkeypatch.setattr(optimised, "count_up", traced)
    for line in range(1, 61):
        remaining = line
        try:
            result = VARIANTS["optimised"](tmp_path / "log", threads=3, limit=600)
        except Death:
            deaths += 1
            assert_prefix(tmp_path / "log", shorter_than=601)  # it may die after everything is written
        else:  # thread 2 got too few blocks to reach that line
            assert result.count == 600
            assert check_log(tmp_path / "log", 600).ok
    assert deaths >= 20


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_reports_a_dead_thread(name, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", die_at_call(500, time.time))
    with pytest.raises(Death, match="500"):
        VARIANTS[name](tmp_path / "log", limit=1_000_000)
    monkeypatch.undo()


@pytest.mark.parametrize("capacity", [0, 1, 100, 127, 128, 500_000, 8_000_001])
def test_a_full_disk(capacity, tmp_path, monkeypatch):
    """A short write and then the error, as the kernel does it."""
    write, remaining = os.write, capacity

    def write_what_fits(file, data):
        nonlocal remaining
        if not remaining:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(file, data[:remaining])
        remaining -= written
        return written

    monkeypatch.setattr(os, "write", write_what_fits)
    with pytest.raises(OSError, match="No space left") as caught:
        VARIANTS["optimised"](tmp_path / "log")
    monkeypatch.undo()
    assert caught.value.errno == errno.ENOSPC
    entries = assert_prefix(tmp_path / "log", shorter_than=100_000)
    assert capacity - 150 < (tmp_path / "log").stat().st_size <= capacity, f"{entries} whole entries, and nothing else"


def test_short_writes_are_completed(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:100_003]))
    VARIANTS["optimised"](tmp_path / "log")
    assert check_log(tmp_path / "log", 100_000).ok


def run_in_process(code):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_file_size_limit(tmp_path):
    """The kernel's own short write and error, without a full disk: RLIMIT_FSIZE."""
    pytest.importorskip("resource", reason="RLIMIT_FSIZE is POSIX's")
    path = tmp_path / "log"
    output = run_in_process(
        "import resource\n"
        "from impl.counter import VARIANTS\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_003, 1_000_003))\n"
        f"try:\n    VARIANTS['optimised']({str(path)!r})\n"
        "except OSError as error:\n    print(error.strerror)\n"
    )
    assert output == "File too large\n"
    assert_prefix(path, shorter_than=100_000)
    assert 999_850 < path.stat().st_size <= 1_000_003


def test_a_tmpfs_that_is_full(tmp_path):
    mount = shutil.which("mount")
    if mount is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can mount a small tmpfs")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("this root may not mount a tmpfs")
    try:
        with pytest.raises(OSError, match="No space left"):
            VARIANTS["optimised"](disk / "log")
        assert_prefix(disk / "log", shorter_than=100_000)
        assert 2**20 - 150 < (disk / "log").stat().st_size <= 2**20
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.fixture
def ctrl_c_enabled():
    """Handle SIGINT, which a shell that runs the tests in the background may have disabled."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def ctrl_c(seconds):
    """Start a timer that sends a real SIGINT, which also wakes the main thread; return the timer."""
    timer = threading.Timer(seconds, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    timer.start()
    return timer


@of_the_main_thread
@pytest.mark.usefixtures("ctrl_c_enabled")
@pytest.mark.parametrize("name", VARIANTS)
def test_ctrl_c_stops_the_threads(name, tmp_path):
    timer = ctrl_c(0.05)
    with pytest.raises(KeyboardInterrupt):
        VARIANTS[name](tmp_path / "log", limit=50_000_000)
    timer.join()
    if name == "optimised":
        assert_prefix(tmp_path / "log", shorter_than=50_000_000)


def test_repeated_ctrl_c_leaves_no_thread_behind():
    class Interrupted(threading.Event):
        remaining = 3

        def wait(self, timeout=None):
            self.remaining -= 1
            if self.remaining < 0:
                self.set()
                return True
            raise KeyboardInterrupt(3 - self.remaining)

    noted = []
    wait(end := Interrupted(), noted.append)
    assert end.is_set()
    assert [error.args for error in noted] == [(1,), (2,), (3,)]


@of_the_main_thread
@pytest.mark.usefixtures("ctrl_c_enabled")
def test_ctrl_c_does_not_wait_for_the_start_delay(tmp_path):
    start = time.perf_counter()
    timer = ctrl_c(0.05)
    with pytest.raises(KeyboardInterrupt):
        VARIANTS["optimised"](tmp_path / "log", start_delay=60)
    timer.join()
    assert time.perf_counter() - start < 30


@pytest.mark.parametrize("name", VARIANTS)
def test_a_thread_that_cannot_be_started(name, tmp_path, monkeypatch):
    start = _thread.start_new_thread

    def fail_at_the_eighth(body, arguments):
        if arguments == (8,):
            raise RuntimeError("can't start new thread")
        return start(body, arguments)

    monkeypatch.setattr(_thread, "start_new_thread", fail_at_the_eighth)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        VARIANTS[name](tmp_path / "log")


def test_the_first_error_is_the_one_that_is_raised(tmp_path, monkeypatch):
    monkeypatch.setattr(optimised, "write_all", die_at_call(1, lambda *_: None))
    with pytest.raises(Death, match="1"):
        VARIANTS["optimised"](tmp_path / "log", threads=200)
