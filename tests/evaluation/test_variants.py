"""What `optimised` and `low_precision` compute, in parts and on processors that lack their instructions."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from numba import njit

from impl.evaluation import VARIANTS, UnsupportedError, low_precision
from impl.evaluation import model as network
from impl.evaluation.folding import fold
from impl.evaluation.kernel import predict_float
from impl.evaluation.kernel_int16 import multiply_patches_int16, pool_products_int16, transform_patches_int16
from impl.evaluation.plans import first_layer, float_plan, word_plan
from impl.shared.processor import LEVEL_VARIABLE, features

needs_integers = pytest.mark.skipif(low_precision.missing() is not None, reason=str(low_precision.missing()))


def random_model(seed):
    """An untrained model in which every part of the batch normalisation affects the result."""
    torch.manual_seed(seed)
    model = network.build()
    for norm in (model[1], model[5]):
        for tensor in (norm.weight.data, norm.running_var):
            tensor.uniform_(0.5, 2)
        norm.weight.data[::3] *= -1
        for tensor in (norm.bias.data, norm.running_mean):
            tensor.normal_()
    return model.eval()


@njit
def second_layer(pooled, weights, scale, bias, patches, products, features):
    transform_patches_int16(pooled, patches)
    multiply_patches_int16(patches, weights, products)
    pool_products_int16(products, scale, bias, features)


def random_images(count):
    return torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8), torch.randint(0, 10, (count,))


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_random_weights(seed, wide):
    model = random_model(seed)
    images, labels = random_images(203)
    predictions = np.full(203, -1)
    plan = float_plan(fold(model))._replace(wide=wide)
    predict_float(tuple(plan), images.view(203, -1).numpy(), predictions)
    assert (torch.from_numpy(predictions) == VARIANTS["baseline"](model)(images, labels).predictions).all()


@pytest.mark.parametrize("variant", ["optimised", pytest.param("low_precision", marks=needs_integers)])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 8, 9, 200, 201, 1_000])
def test_any_count_on_any_number_of_threads(variant, threads, count, model, images, labels):
    expected = VARIANTS["baseline"](model)(images[:count], labels[:count])
    torch.set_num_threads(threads)
    result = VARIANTS[variant](model)(images[:count], labels[:count])
    assert (result.predictions == expected.predictions).all()
    assert (result.correct, result.total, result.accuracy) == (expected.correct, expected.total, expected.accuracy)


@pytest.fixture(params=["avx512vnni", "avx2"])
def integers(request, monkeypatch):
    """The instruction set that `low_precision` computes with; it compiles for the processor all the same."""
    if request.param not in features():
        pytest.skip(f"this processor has no {request.param}")
    monkeypatch.setattr(low_precision, "features", lambda: frozenset({request.param}))
    return request.param


@pytest.mark.parametrize("seed", range(5))
def test_integers_on_random_weights(seed, integers):
    """Where no decision is narrow, the integers alone decide as float32 does, whichever instructions they use."""
    folded = fold(random_model(seed))
    images, labels = random_images(203)
    predict, plan = low_precision._integers(folded, float_plan(folded))
    predictions, gaps = np.full(203, -1), np.full(203, np.nan, np.float32)
    predict(plan, images.view(203, -1).numpy(), predictions, gaps)
    expected = VARIANTS["baseline"](random_model(seed))(images, labels).predictions.numpy()
    assert (predictions == expected)[gaps >= low_precision.MARGIN].all()
    assert (gaps >= low_precision.MARGIN).sum() > 50
    assert {"avx512vnni": "predict_int8", "avx2": "predict_int16"}[integers] == predict.__name__


def test_the_greatest_sums_of_int16_fit_32_bits():
    """Winograd transforms these weights to +-1 everywhere, so their step could be so small that sums wrap around."""
    line = np.array([1.0, 2.0, -1.0])
    taps = np.broadcast_to(np.outer(line, line)[:, :, None, None], (3, 3, 32, 64))
    folded = fold(random_model(0))._replace(
        weights1=np.ones((9, 32)), bias1=np.zeros(32), weights2=taps.reshape(9, 32, 64)
    )
    plan, step = word_plan(folded, float_plan(folded)), first_layer(folded)[2]
    pooled = np.zeros((12, 12, 32), np.int16)
    pooled[:3, :3] = 255 * (taps[..., 0] > 0)
    found = np.empty((25, 64), np.float32)
    scratch = np.empty(16 * 25 * 32, np.int16), np.empty(16 * 25 * 64, np.int32)
    second_layer(pooled, plan.weights2, plan.scale2, np.zeros(64, np.float32), *scratch, found)
    windows = (pooled[y : y + 3, x : x + 3, :, None] * taps * step[:, None] for y in range(2) for x in range(2))
    expected = max(window.sum(axis=(0, 1, 2))[0] for window in windows)
    assert found[0] == pytest.approx(expected, rel=1e-3)


@pytest.mark.usefixtures("integers")
def test_flat_images_and_a_dead_channel(model, labels):
    """Uniform images, and a channel of zero weights, whose quantisation scale would be 0."""
    flat = torch.stack([torch.full((28, 28), value, dtype=torch.uint8) for value in (0, 127, 255)])
    dead = random_model(1)
    for layer in (dead[0], dead[4]):
        layer.weight.data[3] = 0
    for network_model in (model, dead):
        expected = VARIANTS["baseline"](network_model)(flat, labels[:3]).predictions
        assert (VARIANTS["low_precision"](network_model)(flat, labels[:3]).predictions == expected).all()


def test_on_an_older_processor(model, images, labels, monkeypatch):
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+avx,-avx2")
    with pytest.raises(
        UnsupportedError, match="only with AVX512-VNNI, AVX2 or i8mm, which this processor does not have"
    ):
        VARIANTS["low_precision"](model)
    assert VARIANTS["optimised"](model)(images, labels).total == len(images)


def test_without_a_compiler(model, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(UnsupportedError, match=r"torch.compile needs a C\+\+ compiler, and there is none"):
        VARIANTS["compiled"](model)


ELSEWHERE = """
import torch
from impl.evaluation import VARIANTS, low_precision, model as network
low_precision.features = lambda: {"avx2"}  # so that it takes the kernel in 16 bits
torch.manual_seed(0); model = network.build().eval()
data = torch.randint(0, 256, (50, 28, 28), dtype=torch.uint8), torch.randint(0, 10, (50,))
a, *others = (VARIANTS[name](model)(*data).predictions for name in ("baseline", "optimised", "low_precision"))
assert all((a == b).all() for b in others)
"""


@pytest.mark.parametrize(
    ("needed", "settings"),
    [("avx2", {LEVEL_VARIABLE: "avx2"}), (None, {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""})],
    ids=["avx2", "generic"],
)
def test_compiled_for_another_processor(needed, settings):
    """The compiler splits vectors into the processor's own width; what it has no instruction for is plain arithmetic.

    Numba caches machine code per processor, so that only the first run compiles.
    """
    if needed not in {None, *features()}:
        pytest.skip(f"needs a processor with {needed}")
    subprocess.run([sys.executable, "-c", ELSEWHERE], check=True, env={**os.environ, **settings})
