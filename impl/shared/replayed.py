"""Work on fixed buffers, which a GPU replays as one CUDA graph.

A small network on a GPU takes less time than the host needs to launch its kernels one by one. A graph has them all,
with the copies to the device and back, and one launch starts it. Elsewhere the work is called as it is, so that what it
computes can be tested without a GPU.
"""

from collections.abc import Callable

import torch

__all__ = ["Replayed", "host_buffer"]

WARM_UPS = 3
"""Calls before the capture, in which cuDNN and cuBLAS choose their kernels and take their memory."""


def host_buffer(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return memory of the host, from and to which `device` copies without waiting: pinned if that is a GPU."""
    return torch.empty(shape, dtype=dtype, pin_memory=device.type == "cuda")


class Replayed:
    """Work that reads and writes the same tensors each time: start it, and wait for it.

    Two of them may run at the same time, each in a CUDA stream of its own.
    """

    def __init__(self, work: Callable[[], None], device: torch.device) -> None:
        """Capture `work`, which must not synchronise, if `device` is a GPU."""
        self._work = work
        if device.type != "cuda":
            self._stream = None
            return
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's own gap
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UPS):
                work()
        self._stream.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=self._stream):
            work()

    def start(self) -> None:
        """Start the work on what its buffers hold now. On a GPU this returns before it has ended."""
        if self._stream is None:
            self._work()
        else:
            with torch.cuda.stream(self._stream):
                self._graph.replay()

    def wait(self) -> None:
        """Return when the work has ended; at once if it was not started."""
        if self._stream is not None:
            self._stream.synchronize()
