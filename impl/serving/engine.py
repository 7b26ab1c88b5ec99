"""A batch, shared out to the cores: each runs chunks of images from beginning to end.

Why not one chunk after the other with every core in each matrix product: what is between the products is as much work
for the interpreter and for memory as it is for the cores, and a core that waits at each of 150 products for the slower
one waits often. A single image has no such choice, and gets all cores in each product.
"""

import ctypes
import platform
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

__all__ = ["Engine", "keep_memory", "use_cores"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h

Logits = Callable[[torch.Tensor], torch.Tensor]


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
            logits: float32 [N, classes] of images [N, ...]; lets go of the interpreter's lock for nearly all its time.
            chunk: The most images for one call of it.
        """
        keep_memory()
        self._logits, self._chunk = logits, chunk
        self._cores = torch.get_num_threads()
        self._helpers = ThreadPoolExecutor(max(1, self._cores - 1), "inference-helper", use_cores, (1,))
        ready = threading.Barrier(self._cores)
        for _ in range(self._cores - 1):
            self._helpers.submit(ready.wait)
        ready.wait()
        use_cores(self._cores)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of one batch."""
        if len(images) == 1 or self._cores == 1:
            return torch.cat([self._run(part) for part in torch.split(images, self._chunk)])
        rounds = -(-len(images) // (self._chunk * self._cores))
        parts = torch.tensor_split(images, min(len(images), rounds * self._cores))
        queue = list(enumerate(parts))[::-1]
        found: list[torch.Tensor | None] = [None] * len(parts)

        def work() -> None:
            while queue:
                try:
                    place, part = queue.pop()
                except IndexError:
                    return
                found[place] = self._run(part)

        others = [self._helpers.submit(work) for _ in range(self._cores - 1)]
        use_cores(1)
        try:
            work()
            for other in others:
                other.result()
        finally:
            use_cores(self._cores)
        return torch.cat([part for part in found if part is not None])

    def _run(self, images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():  # it is a thread's own
            return self._logits(images)
