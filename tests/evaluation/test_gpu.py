"""The network of a GPU, computed on the processor by the same code, and on a GPU where there is one."""

import pytest
import torch

from impl.evaluation import VARIANTS, UnsupportedError, gpu, load_model
from impl.shared import replayed
from impl.shared.device import no_cuda
from impl.variant import best_of

CASES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(no_cuda() is not None, reason=str(no_cuda()))),
]
on_each_device = pytest.mark.parametrize("device", CASES)


@on_each_device
@pytest.mark.parametrize("count", [1, 99, 100, 101, 200, 201, 1_000])
def test_predictions_in_batches(count, device, model, images, labels, monkeypatch):
    monkeypatch.setattr(gpu, "BATCH", 100)
    images, labels = images[:count], labels[:count]
    expected = VARIANTS["baseline"](model)(images, labels)
    result = gpu.build(model, device)(images, labels)
    assert int((result.predictions != expected.predictions).sum()) <= (1 - VARIANTS["gpu"].promise.least) * count
    assert (result.predictions.dtype, result.predictions.device.type) == (torch.int64, "cpu")


@on_each_device
def test_buffers_keep_nothing_of_the_call_before(device, model, images, labels, monkeypatch):
    monkeypatch.setattr(gpu, "BATCH", 100)
    images, labels = images[:350], labels[:350]
    evaluate = gpu.build(model, device)
    once = evaluate(images, labels).predictions
    assert torch.equal(evaluate(images.flip(0), labels).predictions, once.flip(0))
    assert torch.equal(evaluate(images[:1], labels[:1]).predictions, once[:1])
    assert len(once.unique()) == 10


def test_later_changes_of_the_model_are_ignored(images, labels):
    model = load_model()
    evaluate = gpu.build(model, "cpu")
    before = evaluate(images, labels).predictions
    torch.nn.init.zeros_(model[10].weight)
    assert torch.equal(evaluate(images, labels).predictions, before)


def test_a_graph_is_captured_once_and_replayed_in_its_stream(monkeypatch):
    """By a stand-in for CUDA that says what it was asked for."""
    said, current = [], [None]

    class Stream:
        def __init__(self, device):
            said.append(f"stream on {device}")

        def synchronize(self):
            said.append("synchronised")

    class Graph:
        def replay(self):
            said.append(f"replayed in {'its stream' if current[0] is stream() else 'another'}")

    class During:
        def __init__(self, what, stream):
            self.what, self.stream = what, stream

        def __enter__(self):
            current[0] = self.stream
            said.append(f"begin {self.what}")

        def __exit__(self, *_):
            current[0] = None
            said.append(f"end {self.what}")

    def stream():
        return work._stream

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: During("stream", stream))
    monkeypatch.setattr(torch.cuda, "graph", lambda _graph, stream: During("capture", stream))
    work = replayed.Replayed(lambda: said.append("work"), torch.device("cuda"))
    warm = ["begin stream", *["work"] * replayed.WARM_UPS, "end stream", "synchronised"]
    assert said == ["stream on cuda", *warm, "begin capture", "work", "end capture"]
    said.clear()
    work.start()
    work.wait()
    assert said == ["begin stream", "replayed in its stream", "end stream", "synchronised"]


@pytest.mark.skipif(no_cuda() is None, reason="there is a GPU")
def test_without_a_gpu_the_reason_is_said(model):
    with pytest.raises(UnsupportedError, match="there is no GPU that CUDA can use"):
        VARIANTS["gpu"](model)
    assert best_of(VARIANTS) != "gpu"
