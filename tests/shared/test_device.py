"""Whether there is a GPU: with drivers that say so, and without one."""

import ctypes
import sys

import pytest

from impl.shared.device import no_cuda


class Driver:
    def __init__(self, started, found):
        self.started, self.found = started, found

    def cuInit(self, _flags):  # noqa: N802 - CUDA's name
        return self.started

    def cuDeviceGetCount(self, count):  # noqa: N802 - likewise
        count._obj.value = self.found
        return 0


@pytest.mark.parametrize(("started", "found"), [(100, 1), (0, 0)], ids=["it does not start", "it has no device"])
def test_a_driver_without_a_gpu(started, found, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Driver(started, found))
    assert no_cuda() == "there is no GPU that CUDA can use"


def test_no_driver(monkeypatch):
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert "NVIDIA's driver is not installed" in no_cuda()


@pytest.mark.parametrize("built", [True, False])
def test_what_torch_can_do(built, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Driver(0, 1))
    torch = type(sys)("torch")
    torch.cuda = type(sys)("torch.cuda")
    torch.cuda.is_available = lambda: built
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert no_cuda() == (None if built else "there is a GPU, and this torch is built without CUDA")
