"""Peak memory: of the work alone, with its children, and with errors that reach the caller."""

import operator
import os
import platform
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from benchmarks.gate.measure import memory
from benchmarks.gate.measure.memory import PeakMemoryError, peak_memory

pytestmark = pytest.mark.skipif(platform.system() == "Darwin", reason="macOS does not report a process's peak memory")

MIB = 1024 * 1024
ROOM = 8  # MiB that allocators and the interpreter may add


def mebibytes(*args, **kwargs):
    return peak_memory(*args, **kwargs) / MIB


def can_reset():
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def test_what_the_work_allocates():
    assert mebibytes(bytearray, 100 * MIB) == pytest.approx(100, abs=ROOM)


def test_what_the_parent_and_the_arguments_hold_does_not_count():
    held = bytearray(150 * MIB)
    assert mebibytes(len, bytes(50 * MIB)) < ROOM
    del held


@pytest.mark.skipif(not can_reset(), reason="this system does not let a process reset its peak")
def test_what_was_prepared_and_freed_does_not_hide_the_work():
    assert mebibytes(bytearray, 60 * MIB, prepare=partial(bytearray, 200 * MIB)) == pytest.approx(60, abs=ROOM)


def small_pieces():
    """40 MiB that glibc's allocator takes from its heap, where what is freed stays for the next one."""
    bytearray(30 * MIB).clear()  # freeing a large block teaches it to keep up to 60 MiB
    return [bytearray(1000) for _ in range(40 * MIB // 1024)]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked to give back what it keeps")
def test_what_the_allocator_kept_does_not_hide_the_work():
    assert mebibytes(small_pieces, prepare=small_pieces) == pytest.approx(40, abs=ROOM)


def test_what_children_use_counts():
    code = f"import time; time.sleep(0.3); held = bytearray({80 * MIB}); time.sleep(0.3)"
    assert 80 - ROOM <= mebibytes(subprocess.run, [sys.executable, "-c", code]) <= 80 + 4 * ROOM


def test_an_exception_arrives_with_its_traceback():
    with pytest.raises(PeakMemoryError, match=r"(?s)in the measured process.*Traceback.*ZeroDivisionError"):
        peak_memory(operator.truediv, 1, 0)


def test_an_exception_while_preparing_arrives_too():
    with pytest.raises(PeakMemoryError, match="ZeroDivisionError"):
        peak_memory(len, "", prepare=partial(operator.truediv, 1, 0))


@pytest.mark.skipif(os.name == "nt", reason="no signals to be killed by")
def test_a_killed_process_is_an_error_that_names_the_signal():
    with pytest.raises(PeakMemoryError, match="killed by SIGKILL"):
        peak_memory(signal.raise_signal, 9)


def test_a_process_that_leaves_early_is_an_error():
    with pytest.raises(PeakMemoryError, match="exit status 3"):
        peak_memory(os._exit, 3)


def test_a_timeout_ends_the_process_and_its_children():
    start, code = time.monotonic(), f"import time; time.sleep({1_000_000 + os.getpid()})"
    with pytest.raises(PeakMemoryError, match=r"did not finish within 1\.5 s"):
        peak_memory(subprocess.run, [sys.executable, "-c", code], timeout=1.5)
    assert time.monotonic() - start < 5
    processes = psutil.process_iter(["cmdline", "status"])
    left = [p for p in processes if code in (p.info["cmdline"] or ()) and p.info["status"] != psutil.STATUS_ZOMBIE]
    assert not left


def test_what_cannot_be_pickled_is_refused_here():
    with pytest.raises((AttributeError, TypeError, memory.pickle.PicklingError)):
        peak_memory(lambda: None)


def test_a_system_without_the_reading_says_so(monkeypatch):
    monkeypatch.setattr(memory.platform, "system", lambda: "Plan9")
    with pytest.raises(memory.UnmeasurableError, match="Plan9"):
        peak_memory(len, "")
