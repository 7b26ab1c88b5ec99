"""What `optimised` and `low_precision` compute, in parts and on processors that lack their instructions."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from impl.evaluation import VARIANTS, UnsupportedError, low_precision
from impl.evaluation import model as network
from impl.evaluation.folding import fold
from impl.evaluation.kernel import predict_float
from impl.evaluation.plans import float_plan

needs_vnni = pytest.mark.skipif(low_precision.missing() is not None, reason=str(low_precision.missing()))


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


@pytest.mark.parametrize("variant", ["optimised", pytest.param("low_precision", marks=needs_vnni)])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 8, 9, 200, 201, 1_000])
def test_any_count_on_any_number_of_threads(variant, threads, count, model, images, labels):
    expected = VARIANTS["baseline"](model)(images[:count], labels[:count])
    torch.set_num_threads(threads)
    result = VARIANTS[variant](model)(images[:count], labels[:count])
    assert (result.predictions == expected.predictions).all()
    assert (result.correct, result.total, result.accuracy) == (expected.correct, expected.total, expected.accuracy)


@needs_vnni
def test_flat_images_and_a_dead_channel(model, labels):
    """Uniform images, and a channel of zero weights, whose quantisation scale would be 0."""
    flat = torch.stack([torch.full((28, 28), value, dtype=torch.uint8) for value in (0, 127, 255)])
    dead = random_model(1)
    for layer in (dead[0], dead[4]):
        layer.weight.data[3] = 0
    for network_model in (model, dead):
        expected = VARIANTS["baseline"](network_model)(flat, labels[:3]).predictions
        assert (VARIANTS["low_precision"](network_model)(flat, labels[:3]).predictions == expected).all()


@pytest.mark.parametrize("limit", ["AVX2", "avx512_core", "SSE41"])
def test_without_the_instructions(limit, model, images, labels, monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    with pytest.raises(UnsupportedError, match=f"int8 needs AVX512-VNNI, and ONEDNN_MAX_CPU_ISA={limit.upper()} rules"):
        VARIANTS["low_precision"](model)
    assert VARIANTS["optimised"](model)(images, labels).total == len(images)


def test_on_an_older_processor(monkeypatch):
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", lambda: {"avx2": True})
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    assert low_precision.missing() == "int8 needs AVX512-VNNI, which this processor does not have"


def test_without_a_compiler(model, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(UnsupportedError, match=r"torch.compile needs a C\+\+ compiler, and there is none"):
        VARIANTS["compiled"](model)


def test_compiled_for_another_processor():
    """The compiler splits vectors of 16 floats into the processor's own width; the loop is the same.

    Numba caches machine code per processor, so that only the first run compiles.
    """
    if not torch.cpu._is_avx2_supported():
        pytest.skip("needs a processor with AVX2")
    script = (
        "import torch; from impl.evaluation import VARIANTS, model as network\n"
        "torch.manual_seed(0); model = network.build().eval()\n"
        "data = torch.randint(0, 256, (50, 28, 28), dtype=torch.uint8), torch.randint(0, 10, (50,))\n"
        "a, b = (VARIANTS[name](model)(*data).predictions for name in ('baseline', 'optimised'))\n"
        "assert (a == b).all()\n"
    )
    settings = {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx2,+fma",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    }
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, **settings})
