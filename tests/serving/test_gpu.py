"""The transformer of a GPU, computed on the processor by the same code, and on a GPU where there is one."""

import pytest
import torch

from impl.serving import ServingConfig
from impl.serving.__main__ import parse
from impl.serving.model import gpu, precision
from impl.serving.model.vit import plan_of, split_vit
from impl.shared.device import no_cuda
from tests.serving.test_precision import transformer
from tests.serving.tiny import TINY

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
CASES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(no_cuda() is not None, reason=str(no_cuda()))),
]
on_each_device = pytest.mark.parametrize("device", CASES)


@pytest.fixture(scope="module")
def model():
    return transformer(64, 16, 3, 4, 128, 256)


def on(device, model, dtype):
    return gpu.GpuVit(plan_of(model, MEAN, STD), split_vit(model), dtype, torch.device(device))


def pictures(count):
    return torch.randint(0, 256, (count, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(count))


def normalised(images):
    return (images / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


@on_each_device
@pytest.mark.parametrize("count", [1, 3, 64, 65, 130])
def test_logits_are_those_of_torchvision(count, device, model):
    images = pictures(count)
    expected = model(normalised(images))
    run = on(device, model, torch.float32)
    for given in (images, normalised(images)):
        logits = run(given)
        assert (logits.dtype, logits.device.type) == (torch.float32, "cpu")
        torch.testing.assert_close(logits, expected, atol=2e-4, rtol=2e-4)


@on_each_device
def test_bfloat16_is_near(device, model):
    images = pictures(40)
    expected, logits = model(normalised(images)), on(device, model, torch.bfloat16)(images)
    assert not torch.equal(logits, expected)
    assert (logits - expected).abs().max() < 0.05 * expected.abs().max()


@on_each_device
def test_buffers_keep_nothing_of_the_call_before(device, model):
    """A batch of three is filled up to four, with what a batch of four has left there."""
    run, images = on(device, model, torch.float32), pictures(7)
    first = run(images[:4])
    kept = first.clone()
    rest = run(images[4:])
    assert torch.equal(first, kept), "a later batch wrote into an earlier answer"
    torch.testing.assert_close(torch.cat([first, rest]), model(normalised(images)), atol=2e-4, rtol=2e-4)


def test_a_server_on_a_gpu_serves_bfloat16(monkeypatch, small_cache):
    """With the network of the GPU on the processor: the choice of precision, what is kept, and the names."""
    on_a_gpu = gpu.GpuVit
    monkeypatch.setattr(precision, "no_cuda", lambda: None)
    monkeypatch.setattr(
        gpu, "GpuVit", lambda plan, parts, dtype, _device: on_a_gpu(plan, parts, dtype, torch.device("cpu"))
    )
    prepared = precision.prepare(ServingConfig(model=TINY, device="cuda"))
    assert (prepared.precision, prepared.key.endswith("-bfloat16-cuda")) == ("bfloat16", True)
    assert prepared.agreement >= precision.AGREEMENT["bfloat16"]
    assert [path.name for path in small_cache.glob(f"serving/{TINY}*/*-cuda-agreement.json")] == [
        "bfloat16-cuda-agreement.json"
    ]
    images = precision.drawn(9, 1, 64)
    expected = precision.prepare(ServingConfig(model=TINY, precision="float32")).run(images)
    assert torch.equal(prepared.run(images).argmax(dim=1), expected.argmax(dim=1))


@pytest.mark.skipif(no_cuda() is None, reason="there is a GPU")
@pytest.mark.parametrize("model", [TINY, "squeezenet1_1"])
def test_without_a_gpu_the_reason_is_said(model):
    with pytest.raises(ValueError, match="device cuda cannot be used: there is no GPU that CUDA can use"):
        precision.prepare(ServingConfig(model=model, device="cuda"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "tpu"}, "device must be one of cpu, cuda, not 'tpu'"),
        ({"device": "cuda", "precision": "int8"}, "precision int8 is for device cpu: on cuda use bfloat16 or float32"),
    ],
)
def test_devices_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        ServingConfig(model=TINY, **settings)


def test_a_variant_without_a_queue_refuses_a_device(capsys):
    with pytest.raises(SystemExit):
        parse(["baseline", "--device", "cuda"])
    assert "baseline does not use --device: leave it out" in capsys.readouterr().err
