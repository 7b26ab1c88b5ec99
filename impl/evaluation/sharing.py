"""Divides the images among threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

__all__ = ["share"]

CHUNK = 200
"""Images that a thread takes at a time: 1 to 2 ms of work, which limits the time others wait for a preempted one."""


def share(work: Callable[[slice], None], count: int) -> None:
    """Call `work` with slices that together cover 0 .. count, on up to `torch.get_num_threads()` threads.

    Threads help only if `work` releases the GIL.
    """
    parts = [slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
    threads = min(torch.get_num_threads(), len(parts))
    if threads <= 1:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, parts):
            pass
