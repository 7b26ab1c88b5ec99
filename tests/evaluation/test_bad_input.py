"""Every kind of bad input raises a clear error in every variant."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from impl.evaluation import VARIANTS, UnsupportedError
from impl.evaluation import model as network

every_variant = pytest.mark.parametrize("variant", VARIANTS)


def build(variant, model, **options):
    try:
        return VARIANTS[variant](model, **options)
    except UnsupportedError as error:
        pytest.skip(str(error))


@every_variant
@pytest.mark.parametrize(
    ("corrupt", "error", "message"),
    [
        (lambda x, y: (x.float(), y), TypeError, "images must be uint8, not float32"),
        (lambda x, y: (x.numpy().astype(np.int16), y), TypeError, "images must be uint8, not int16"),
        (lambda x, y: (x.tolist(), y), TypeError, "images must be a NumPy array or a tensor, not list"),
        (lambda x, y: (x[:, :27], y), ValueError, r"images must have the shape \[N, 28, 28\], not \[1000, 27, 28\]"),
        (lambda x, y: (x[0], y), ValueError, r"images must have the shape \[N, 28, 28\], not \[28, 28\]"),
        (lambda x, y: (x, y[:-1]), ValueError, "there are 1,000 images and 999 labels"),
        (lambda x, y: (x, y[:, None]), ValueError, r"labels must have the shape \[N\], not \[1000, 1\]"),
        (lambda x, y: (x, y.int()), TypeError, "labels must be int64, not int32"),
        (lambda x, y: (x[:0], y[:0]), ValueError, "there are no images"),
        (lambda x, y: (x, y + 1), ValueError, r"labels must be in 0 \.\. 9; label \d+ is 10"),
        (lambda x, y: (x, y - 1), ValueError, r"labels must be in 0 \.\. 9; label \d+ is -1"),
    ],
)
def test_images_and_labels(variant, corrupt, error, message, model, images, labels):
    with pytest.raises(error, match=message):
        build(variant, model)(*corrupt(images, labels))


@every_variant
def test_a_model_in_training_mode(variant, model, images, labels):
    training = copy.deepcopy(model).train()
    training[1].eval()
    modes = [module.training for module in training.modules()]
    weights = copy.deepcopy(training.state_dict())
    result = build(variant, training)(images, labels)
    assert [module.training for module in training.modules()] == modes
    assert all((weights[name] == value).all() for name, value in training.state_dict().items()), (
        "evaluation changed the weights"
    )
    expected = VARIANTS["baseline"](model)(images, labels)
    assert (result.predictions == expected.predictions).all()


def test_an_error_restores_the_training_mode(model, images, labels):
    training = copy.deepcopy(model).train()
    training[10].weight.data = torch.zeros(10, 3)
    with pytest.raises(RuntimeError):
        VARIANTS["batched"](training)(images, labels)
    assert all(module.training for module in training.modules())


@pytest.mark.parametrize("variant", ["optimised", "low_precision"])
def test_another_network(variant, model):
    with pytest.raises(TypeError, match="this variant computes one network only"):
        build(variant, nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
    wider = network.build()
    wider[10] = nn.Linear(1600, 11)
    with pytest.raises(ValueError, match=r"linear.weight must be torch.float32 \[10, 1600\]"):
        build(variant, wider)
    broken = copy.deepcopy(model)
    broken[4].weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"conv2.weight is not finite"):
        build(variant, broken)
    with pytest.raises(ValueError, match="this variant is for the CPU; on cuda"):
        build(variant, model, device="cuda")


@every_variant
def test_arrays_views_and_read_only_memory(variant, model, images, labels):
    evaluate = build(variant, model)
    expected = evaluate(images[::2].contiguous(), labels[::2].contiguous()).predictions
    pixels, classes = images.numpy()[::2], labels.numpy()[::2]
    result = evaluate(pixels, classes)
    assert (result.predictions == expected).all()
    pixels = images.numpy().copy()
    pixels.flags.writeable = False
    assert (
        evaluate(pixels[::-1], labels.numpy()[::-1]).predictions == evaluate(images, labels).predictions.flip(0)
    ).all()
