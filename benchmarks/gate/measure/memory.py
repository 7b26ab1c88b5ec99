"""Peak memory of a function, measured in a fresh process."""

import contextlib
import ctypes
import gc
import multiprocessing
import pickle
import platform
import signal
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

POLL = 0.02  # seconds between two looks at the process's children


class PeakMemoryError(Exception):
    """The function failed in its process, or the process did; the message has its traceback or says what ended it."""


class UnmeasurableError(Exception):
    """This system does not tell a process's peak memory."""


def peak_memory(
    function: Callable[..., object],
    *args: object,
    prepare: Callable[[], object] | None = None,
    timeout: float = 600.0,
) -> int:
    """Return by how many bytes `function(*args)` raises the peak memory of a fresh process.

    The peak is the kernel's own high-water mark of resident memory (VmHWM; peak_wset on Windows), before and after. Not
    ru_maxrss: a child process inherits that from its parent. Processes the function starts are looked at every 20 ms,
    and what those alive at one time have grown by is added, at its most: the sum is an upper estimate, and a process
    that lives shorter than 20 ms may be missed. Differences under a few MiB mean nothing: allocators and the
    interpreter keep a stock, and the kernel counts pages in batches.

    Args:
        function: at module level, so that it can be pickled.
        args: pickled too, and there before the first reading: they do not count, what the function builds does.
        prepare: run before the first reading, for imports and for compilation on a tiny input. Keep it small: what it
            frees is given back where the allocator can be asked to (glibc's), and may be used again unseen elsewhere;
            where the mark cannot be reset (Linux can), so may all up to its own peak.
        timeout: seconds until the process is killed.

    Raises:
        PeakMemoryError: for an exception in the process, its death, or the timeout.
        UnmeasurableError: where the system has no such reading.
    """
    read_peak(psutil.Process())
    # Pickled here and not by multiprocessing, so that an error at either end is reported as one.
    work = pickle.dumps((function, args, prepare))
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(theirs, work), daemon=False)
    process.start()
    theirs.close()
    try:
        return _follow(process, ours, time.monotonic() + timeout)
    except TimeoutError:
        _kill(process)
        raise PeakMemoryError(f"{_name(function)} did not finish within {timeout:g} s") from None
    finally:
        process.join(5)  # it has reported, or is dead; threads it left behind must not keep it
        _kill(process)
        ours.close()


def read_peak(process: psutil.Process) -> int:
    """Return a process's peak resident memory in bytes.

    Raises:
        UnmeasurableError: where the system has no such reading.
        psutil.Error, OSError: where the process is gone.
    """
    if platform.system() == "Linux":
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0  # a zombie has no memory left to speak of
    peak = getattr(process.memory_info(), "peak_wset", None)
    if peak is None:
        raise UnmeasurableError(f"{platform.system()} does not tell a process's peak memory")
    return int(peak)


def _measure(pipe: Connection, work: bytes) -> None:
    """Run in the fresh process: report ("ready", 0), then ("peak", bytes) or ("error", traceback)."""
    try:
        function, args, prepare = pickle.loads(work)  # noqa: S301 - written by our parent process
        if prepare is not None:
            prepare()
        _settle()
        itself = psutil.Process()
        before = read_peak(itself)
        pipe.send(("ready", 0))
        function(*args)
        pipe.send(("peak", max(0, read_peak(itself) - before)))
    except BaseException:  # noqa: BLE001 - whatever it is, the caller is the one to see it
        pipe.send(("error", traceback.format_exc()))


def _settle() -> None:
    """Give back what was freed, and take the peak as of now: else the work would start on memory that does not show."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):  # glibc only; it keeps up to 64 MiB otherwise
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):  # not Linux, or not permitted: then the mark stays where it is
        Path("/proc/self/clear_refs").write_text("5")


def _follow(process: multiprocessing.process.BaseProcess, pipe: Connection, deadline: float) -> int:
    """Wait for the process's report, and watch its children meanwhile."""
    least: dict[int, int] = {}
    most = 0
    while True:
        while not pipe.poll(POLL):
            if time.monotonic() > deadline:
                raise TimeoutError
            most = max(most, _children_growth(process.pid, least))
        try:
            kind, value = pipe.recv()
        except (EOFError, ConnectionError):
            process.join()
            raise PeakMemoryError(f"the process ended early: {_cause(process.exitcode)}") from None
        if kind == "error":
            raise PeakMemoryError(f"in the measured process:\n{value}")
        if kind == "peak":
            return int(value) + most
        least, most = {}, 0  # ready: what children grew by while preparing does not count
        _children_growth(process.pid, least)


def _children_growth(pid: int | None, least: dict[int, int]) -> int:
    """Return by how much the descendants alive now have grown over the least peak each was seen with.

    The least and not the first: a process seen between its fork and its exec still has its parent's.
    """
    total = 0
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error, OSError):
                peak = read_peak(child)
                least[child.pid] = min(peak, least.get(child.pid, peak))
                total += peak - least[child.pid]
    return total


def _kill(process: multiprocessing.process.BaseProcess) -> None:
    """End a process that is still alive, with everything it started."""
    if process.is_alive():
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    child.kill()
        process.kill()
        process.join()


def _cause(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return f"killed by {signal.Signals(-exitcode).name}"
    return f"exit status {exitcode}"


def _name(function: Callable[..., object]) -> str:
    return getattr(function, "__qualname__", repr(function))
