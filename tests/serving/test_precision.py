"""What is computed in each precision, against torchvision's own module, and the choice between them."""

import numpy as np
import pytest
import torch
import torchvision

from impl.serving import ServingConfig, precision
from impl.serving.engine import Engine
from impl.serving.int8 import Int8Vit, quantise_part
from impl.serving.kernels import gelu_quantise, norm_quantise, quantise, residual_norm_quantise
from impl.serving.vit import FloatVit, plan_of, split_vit

from .conftest import TINY

NONE, ONES = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
random = np.random.default_rng(5)


def normal(*shape):
    return random.standard_normal(shape, dtype=np.float32)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    found = torchvision.models.VisionTransformer(64, 16, 3, 4, 128, 256, num_classes=10).eval()
    for parameter in found.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return found.requires_grad_(requires_grad=False)


def runner(model, name, mean=NONE, std=ONES):
    plan, parts = plan_of(model, mean, std), split_vit(model)
    if name == "int8":
        return Int8Vit(plan, [quantise_part(part) for part in parts]).logits
    return FloatVit(plan, parts, getattr(torch, name)).logits


@pytest.mark.parametrize(("name", "off"), [("float32", 1e-5), ("bfloat16", 0.03), ("int8", 0.05)])
@pytest.mark.parametrize("count", [1, 2, 19])
def test_logits(name, off, count, model):
    images = torch.randint(0, 256, (count, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        expected = model(images / 255)
        run = runner(model, name)
        for given in (images, images / 255):
            found = run(given)
            assert found.dtype == torch.float32
            assert (found - expected).abs().max() <= off * expected.abs().max()


def test_normalisation(model):
    images = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.1)
    pixels = (images / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.inference_mode():
        found = runner(model, "float32", mean, std)(images)
        assert (found - model(pixels)).abs().max() < 1e-4


def test_an_answer_does_not_depend_on_its_company(model):
    images = torch.randint(0, 256, (9, 3, 64, 64), dtype=torch.uint8)
    images[1:] //= 3
    run = runner(model, "int8")
    with torch.inference_mode():
        # But for the order in which oneDNN adds up the head's products; a scale for the whole batch is 1,000 times off.
        assert (run(images)[:1] - run(images[:1])).abs().max() < 1e-5


def decoded(codes, steps, zeros):
    return (codes.astype(np.float32) - zeros[:, None]) * steps[:, None]


@pytest.mark.parametrize(
    "rows", [normal(5, 100), normal(5, 64) * 1e6, np.abs(normal(3, 33)), -np.abs(normal(3, 33)), np.zeros((2, 7), "f4")]
)
def test_quantise(rows):
    codes, steps, zeros = np.empty(rows.shape, np.uint8), np.empty(len(rows), "f4"), np.empty(len(rows), "f4")
    quantise(rows, codes, steps, zeros)
    reach = np.maximum(rows.max(1), 0) - np.minimum(rows.min(1), 0)
    off = np.abs(decoded(codes, steps, zeros) - rows).max(1)
    assert (off <= 1.01 * reach / 255).all(), off / reach
    assert ((codes == zeros[:, None]) | (rows != 0)).all(), "nothing is not nothing any more"


def test_the_other_kernels():
    stream, product, gain, bias, sums, offset = (normal(*shape) for shape in ((6, 96), (6, 96), *[(96,)] * 4))
    codes, steps, zeros = np.empty(stream.shape, np.uint8), np.abs(normal(6)), np.float32([0, 3, 128, 255, 7, 90])
    values = steps[:, None] * (product - zeros[:, None] * sums) + offset
    expected = torch.nn.functional.gelu(torch.from_numpy(values)).numpy()
    found_steps, found_zeros = steps.copy(), zeros.copy()
    gelu_quantise(product, sums, offset, codes, found_steps, found_zeros)
    assert (np.abs(decoded(codes, found_steps, found_zeros) - expected).max(1) <= 1.01 * found_steps).all()

    added = stream + values
    normed = torch.nn.functional.layer_norm(torch.from_numpy(added), (96,), *map(torch.from_numpy, (gain, bias)), 1e-6)
    residual_norm_quantise(stream, product, sums, offset, gain, bias, codes, steps, zeros)
    assert np.allclose(stream, added, rtol=1e-4, atol=1e-3)
    assert (np.abs(decoded(codes, steps, zeros) - normed.numpy()).max(1) <= 1.01 * steps).all()
    norm_quantise(stream, gain, bias, codes, steps, zeros)
    assert (np.abs(decoded(codes, steps, zeros) - normed.numpy()).max(1) <= 1.01 * steps).all()


@pytest.mark.parametrize("count", [1, 2, 3, 31, 64])
def test_the_engine_keeps_the_order(count):
    engine = Engine(lambda images: images.float().flatten(1)[:, :1], 4)
    images = torch.arange(count).view(-1, 1, 1, 1)
    assert engine(images).flatten().tolist() == list(range(count))


def test_the_engine_tells_of_an_error_in_any_part():
    def fail(images):
        if 7 in images:
            raise RuntimeError("seven")
        return images

    with pytest.raises(RuntimeError, match="seven"):
        Engine(fail, 2)(torch.arange(20))


@pytest.mark.parametrize("name", ["int8", "bfloat16", "float32"])
def test_every_precision_can_be_forced(name):
    found = precision.prepare(ServingConfig(model=TINY, precision=name))
    assert found.precision == name
    images = precision.drawn(50, 1, 64)
    right = precision.prepare(ServingConfig(model=TINY, precision="float32")).run(images).argmax(dim=1)
    assert (found.run(images).argmax(dim=1) == right).float().mean() >= 0.95
    assert len(set(right.tolist())) >= 8, "the seeded weights do not tell the pictures apart"


def test_one_that_does_not_agree_is_not_used(monkeypatch, caplog, small_cache):
    """The next better one is; and the verdict is kept, so that a later start does not compare again."""
    monkeypatch.setattr(precision, "available", lambda: ["int8", "bfloat16", "float32"])
    for path in small_cache.glob(f"serving/{TINY}*/*-agreement.json"):
        path.unlink()
    monkeypatch.setattr("impl.serving.int8.Int8Vit.logits", lambda self, images: torch.zeros(len(images), 10))
    found = precision.prepare(ServingConfig(model=TINY))
    assert found.precision == "bfloat16"
    assert found.agreement >= 0.99
    assert "not int8: it agrees with float32 on" in caplog.text
    monkeypatch.undo()
    monkeypatch.setattr(precision, "available", lambda: ["int8", "bfloat16", "float32"])
    monkeypatch.setattr(precision, "drawn", lambda *_: pytest.fail("it was compared again"))
    assert precision.prepare(ServingConfig(model=TINY)).precision == "bfloat16"
    for path in small_cache.glob(f"serving/{TINY}*/*-agreement.json"):
        path.unlink()


def test_a_processor_without_the_instructions(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert precision.available() == ["float32"]
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert precision.available() == ["bfloat16", "float32"]


def test_another_kind_of_network():
    with pytest.raises(TypeError, match="int8 is for vision transformers"):
        precision.prepare(ServingConfig(model="squeezenet1_1", precision="int8"))
    found = precision.prepare(ServingConfig(model="squeezenet1_1", precision="bfloat16"))
    assert found.run(precision.drawn(2, 1, 224)).shape == (2, 10)
