"""Divides a batch among the cores: each runs chunks of images through the whole network.

With all cores on each matrix product, every core would wait for the slowest one 200 times per chunk. A single image
cannot be divided, so all cores share each of its products.
"""

import ctypes
import logging
import platform
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

__all__ = ["Engine", "Team", "keep_memory", "use_cores"]

log = logging.getLogger(__name__)

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h

Logits = Callable[[torch.Tensor, "Team"], torch.Tensor]


class Team:
    """Cores that work on the same images.

    Attributes:
        size: The number of cores.
    """

    def __init__(self, size: int = 1, helpers: ThreadPoolExecutor | None = None) -> None:
        """Form a team of the calling thread and `size - 1` threads of the helpers."""
        self.size, self._helpers = size, helpers

    def __call__(self, work: Callable[[int], None], *, wait: bool = True) -> None:
        """Call `work(member)` for all members at once; the calling thread is member 0.

        A helper that has not started when member 0 is done is not needed, and is cancelled. With `wait`, helpers that
        have started are waited for, and what they raise is raised here. Without it they may return later, and what they
        raise is logged.
        """
        others = [self._helpers.submit(work, member) for member in range(1, self.size)] if self._helpers else []
        try:
            work(0)
        finally:
            started = [other for other in others if not other.cancel()]
        for other in started:
            if wait:
                other.result()
            else:
                other.add_done_callback(_log_failure)


def _log_failure(other: Future[None]) -> None:
    if error := other.exception():
        log.error("a helper failed, and its work was done without it", exc_info=error)


def use_cores(count: int) -> None:
    """Set how many threads torch uses from this thread.

    The number is per thread. But torch's first use in a thread initialises it to the number that any thread set last,
    so this uses torch before setting it.
    """
    torch.get_num_threads()
    torch.set_num_threads(count)


def keep_memory() -> None:
    """Configure glibc to reuse freed memory; by default it returns large blocks to the operating system.

    New threads also share one arena, because an arena of its own returns whole heaps regardless of the thresholds.
    Without this, a forward pass of 64 images had 30,000 to 200,000 page faults, which took 2 to 14 % of its time,
    depending on the process; with it, none (AMD EPYC (Zen 5), 2 cores, 2026-11-23). Other allocators are not changed.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_MMAP_THRESHOLD, 2**25)
        mallopt(M_TRIM_THRESHOLD, 2**30)


class Engine:
    """Computes the logits of a batch. One thread may use it, the first that calls it."""

    def __init__(self, logits: Logits, chunk: int) -> None:
        """Start the helpers.

        Args:
            logits: Returns float32 [N, classes] for images [N, ...] and a team; it releases the GIL for nearly all of
                its time.
            chunk: The most images per call of `logits`.
        """
        keep_memory()
        self._logits, self._chunk = logits, chunk
        self._cores = torch.get_num_threads()
        self._helpers = ThreadPoolExecutor(max(1, self._cores - 1), "inference-helper", use_cores, (1,))
        self._all, self._one = Team(self._cores, self._helpers), Team()
        ready = threading.Barrier(self._cores)
        for _ in range(self._cores - 1):
            self._helpers.submit(ready.wait)
        ready.wait()

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of one batch."""
        before = torch.get_num_threads()
        # With more than one thread, torch's threads would poll for work for 9 ms afterwards, on the cores used here.
        use_cores(1)
        try:
            with torch.inference_mode():
                return self._shared_out(images)
        finally:
            use_cores(before)

    def _shared_out(self, images: torch.Tensor) -> torch.Tensor:
        """Give each core the same number of images, and then all cores together each of the images that remain."""
        each = len(images) // self._cores
        rounds = -(-each // self._chunk)
        shared, left = images[: each * self._cores], images[each * self._cores :]
        parts = torch.tensor_split(shared, rounds * self._cores) if rounds else ()
        queue = list(enumerate(parts))[::-1]
        results: list[torch.Tensor | None] = [None] * len(parts)

        def work(_member: int) -> None:
            with torch.inference_mode():  # the mode is per thread
                while queue:
                    try:
                        place, part = queue.pop()
                    except IndexError:
                        return
                    results[place] = self._logits(part, self._one)

        if parts:
            self._all(work)
        last = [self._logits(image, self._all) for image in torch.split(left, 1)] if len(left) else []
        return torch.cat([part for part in [*results, *last] if part is not None])
