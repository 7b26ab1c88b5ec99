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

POLL = 0.02  # seconds between two samples of the process's children


class PeakMemoryError(Exception):
    """The function raised, or its process died; the message has the traceback or the cause."""


class UnmeasurableError(Exception):
    """This system does not report a process's peak memory."""


def peak_memory(
    function: Callable[..., object],
    *args: object,
    prepare: Callable[[], object] | None = None,
    timeout: float = 600.0,
) -> int:
    """Return by how many bytes `function(*args)` raises the peak memory of a fresh process.

    The peak is the kernel's own high-water mark of resident memory (VmHWM; peak_wset on Windows), before and after. Not
    ru_maxrss: a child process inherits that from its parent. Processes that the function starts are sampled every 20
    ms, and the greatest sum of the growth of those alive at one time is added. The sum is an upper estimate, and a
    process that lives for less than 20 ms may be missed. Differences below a few MiB mean nothing: allocators and the
    interpreter keep freed memory, and the kernel counts pages in batches.

    Args:
        function: at module level, so that it can be pickled.
        args: pickled too, and unpickled before the first reading, so that only what the function builds counts.
        prepare: run before the first reading, for imports and for compilation on a tiny input. Keep it small: glibc's
            allocator returns what it frees; with others the function may reuse it uncounted, and where the mark
            cannot be reset (Linux can), everything up to its own peak.
        timeout: seconds until the process is killed.

    Raises:
        PeakMemoryError: The function raised, its process died, or it took longer than `timeout`.
        UnmeasurableError: The system has no such reading.
    """
    read_peak(psutil.Process())
    # Pickled here and not by multiprocessing, so that an error on either end propagates.
    work = pickle.dumps((function, args, prepare))
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(sender, work), daemon=False)
    process.start()
    sender.close()
    try:
        return _follow(process, receiver, time.monotonic() + timeout)
    except TimeoutError:
        _kill(process)
        raise PeakMemoryError(f"{_name(function)} did not finish within {timeout:g} s") from None
    finally:
        process.join(5)  # it has reported or is dead; threads left behind must not keep it alive
        _kill(process)
        receiver.close()


def read_peak(process: psutil.Process) -> int:
    """Return a process's peak resident memory in bytes.

    Raises:
        UnmeasurableError: The system has no such reading.
        psutil.Error, OSError: The process is gone.
    """
    if platform.system() == "Linux":
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0  # a zombie has no memory
    peak = getattr(process.memory_info(), "peak_wset", None)
    if peak is None:
        raise UnmeasurableError(f"{platform.system()} does not report a process's peak memory")
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
    except BaseException:  # noqa: BLE001 - the caller raises it
        pipe.send(("error", traceback.format_exc()))


def _settle() -> None:
    """Return freed memory to the system and reset the peak, or the work would reuse memory that is already counted."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):  # glibc only; it otherwise keeps up to 64 MiB
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):  # not Linux, or not permitted: the mark then stays
        Path("/proc/self/clear_refs").write_text("5")


def _follow(process: multiprocessing.process.BaseProcess, pipe: Connection, deadline: float) -> int:
    """Wait for the process's report, and sample its children meanwhile."""
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
        least, most = {}, 0  # ready: growth while preparing does not count
        _children_growth(process.pid, least)


def _children_growth(pid: int | None, least: dict[int, int]) -> int:
    """Return the growth of the living descendants since the least peak that was sampled of each.

    The least and not the first: between fork and exec a process still has its parent's peak.
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
    """Kill a living process and its descendants."""
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
