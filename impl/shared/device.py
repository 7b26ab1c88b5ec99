"""Whether there is a GPU, without importing what would use it."""

import ctypes
import sys

__all__ = ["no_cuda"]

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def no_cuda() -> str | None:
    """Return why nothing can run on a GPU by CUDA here, or None."""
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return "there is no GPU that CUDA can use: NVIDIA's driver is not installed"
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return "there is no GPU that CUDA can use"
    import torch  # noqa: PLC0415 - takes seconds, and most machines have returned by now

    return None if torch.cuda.is_available() else "there is a GPU, and this torch is built without CUDA"
