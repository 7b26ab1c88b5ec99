"""A batch, shared out to the cores: each runs chunks of images from beginning to end.

Why not one chunk after the other with every core in each matrix product: a core that waits at each of 150 products for
the slower one waits often. A single image has no such choice, and gets all cores in each product.
"""

import ctypes
import platform
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

__all__ = ["Engine", "Team", "keep_memory", "use_cores"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h

Logits = Callable[[torch.Tensor, "Team"], torch.Tensor]


class Team:
    """Cores that work on the same images.

    Attributes:
        size: How many.
    """

    def __init__(self, size: int = 1, helpers: ThreadPoolExecutor | None = None) -> None:
        """Be a team of this thread and `size - 1` threads of the helpers."""
        self.size, self._helpers = size, helpers

    def __call__(self, work: Callable[[int], None]) -> None:
        """Call `work(member)` for each member at the same time, this thread being the first."""
        others = [self._helpers.submit(work, member) for member in range(1, self.size)] if self._helpers else []
        work(0)
        for other in others:
            other.result()


def use_cores(count: int) -> None:
    """Set how many threads torch uses from this thread.

    That is a thread's own number in the end: but torch's first use in a thread sets it to what any thread said last, so
    that first use comes first.
    """
    torch.get_num_threads()
    torch.set_num_threads(count)


def keep_memory() -> None:
    """Have glibc keep what is freed, to be used again: by default it hands back whatever is large.

    And have the threads to come share one arena: those of threads hand back whole heaps, whatever they are told.
    Without it a forward pass of 64 images touched 30,000 to 200,000 pages anew, which took 2 to 14 % of its time,
    another share in each process, and with it none (AMD EPYC (Zen 5), 2 cores, 2026-11-23). Other allocators are left
    alone.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_MMAP_THRESHOLD, 2**25)
        mallopt(M_TRIM_THRESHOLD, 2**30)


class Engine:
    """Logits of a batch; for one thread, which is the first to call it."""

    def __init__(self, logits: Logits, chunk: int) -> None:
        """Start the helpers.

        Args:
            logits: float32 [N, classes] of images [N, ...], by a team; lets go of the interpreter's lock for nearly all
                its time.
            chunk: The most images for one call of it.
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
        # Torch's threads, where it has some to share work out, look for more on another core for 9 ms after it.
        use_cores(1)
        try:
            with torch.inference_mode():
                return self._shared_out(images)
        finally:
            use_cores(before)

    def _shared_out(self, images: torch.Tensor) -> torch.Tensor:
        """Give each core as many images as any other, and all cores each of those that are left."""
        each = len(images) // self._cores
        rounds = -(-each // self._chunk)
        shared, left = images[: each * self._cores], images[each * self._cores :]
        parts = torch.tensor_split(shared, rounds * self._cores) if rounds else ()
        queue = list(enumerate(parts))[::-1]
        found: list[torch.Tensor | None] = [None] * len(parts)

        def work(_member: int) -> None:
            with torch.inference_mode():  # it is a thread's own
                while queue:
                    try:
                        place, part = queue.pop()
                    except IndexError:
                        return
                    found[place] = self._logits(part, self._one)

        if parts:
            self._all(work)
        last = [self._logits(image, self._all) for image in torch.split(left, 1)] if len(left) else []
        return torch.cat([part for part in [*found, *last] if part is not None])
