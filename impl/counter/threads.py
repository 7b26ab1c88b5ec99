"""Starting and ending the threads of a run, so that no error is lost and nobody waits for ever.

Neither Thread.start nor Thread.join is used. The first waits until the new thread runs, fifteen times over: with one
other process on two cores, fifteen threads that have nothing to do take 6 ms with it and 3 without, and counting to
20,000 takes 25 and 8 (AMD EPYC Turin (Zen 5), CPython 3.11.7, 2026-11-23, medians). The second, when interrupted, takes
a thread for ended that is still running (CPython 3.11.7). What it costs: the threads have no names, and tracers that
ask `threading` for new threads, coverage among them, do not see these.
"""

import _thread
import threading
import time
from collections.abc import Callable

from .log import CounterResult


class Shared:
    """What the threads of a run have in common.

    Attributes:
        limit: the count to stop at.
        count: the count so far.
        lock: held by whoever may touch the count (the baseline has no use for it).
        halt: set as soon as a thread has died or the caller was interrupted; every thread then stops at its next entry.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0
        self.lock = threading.Lock()
        self.halt = threading.Event()


def together(work: Callable[[int], int], shared: Shared, threads: int, start_delay: float) -> CounterResult:
    """Run `work(thread)` in threads 1 to `threads`, wait until all have ended, and add up what they did.

    Each thread sleeps `start_delay` seconds first; they are not counted. `work` returns how many entries it wrote.

    Raises:
        BaseException: the first error, whether it came from a thread or from the caller's own waiting (Ctrl-C), and not
            before every thread has ended.
    """
    errors: list[BaseException] = []
    wrote = [0] * threads
    ended = [threading.Event() for _ in range(threads)]

    def fail(error: BaseException) -> None:
        errors.append(error)
        shared.halt.set()

    def body(thread: int) -> None:
        try:
            if not shared.halt.wait(start_delay):
                wrote[thread - 1] = work(thread)
        except BaseException as error:  # noqa: BLE001  # it is raised again, in the caller's thread
            fail(error)
        finally:
            ended[thread - 1].set()

    started = 0
    begun = time.perf_counter()
    try:
        for thread in range(1, threads + 1):
            _thread.start_new_thread(body, (thread,))
            started += 1
    except BaseException as error:  # noqa: BLE001  # raised again below, when those that did start have ended
        fail(error)
    for end in ended[:started]:
        wait(end, fail)
    seconds = time.perf_counter() - begun - start_delay
    if errors:
        raise errors[0]
    return CounterResult(shared.count, tuple(wrote), seconds)


def wait(end: threading.Event, fail: Callable[[BaseException], None]) -> None:
    """Wait to the end, through every interruption, and pass those on."""
    while not end.is_set():
        try:
            end.wait()
        except BaseException as error:  # noqa: BLE001  # Ctrl-C, even a second one: raised when all have ended
            fail(error)
