"""Data and trained weights: created once, written atomically, and rejected if damaged."""

import shutil

import pytest
import torch

from impl.evaluation import load_data, load_model
from impl.evaluation.data import DIGITS, FILES, ROOT_VARIABLE, data_root, describe_data, raw_folder
from impl.evaluation.digits import draw_digits
from impl.evaluation.training import train
from impl.shared.cache import CACHE_VARIABLE, cache_folder, write_whole


@pytest.fixture
def copied(small_cache, tmp_path):
    shutil.copytree(small_cache / DIGITS, tmp_path / "data")
    return tmp_path / "data"


def test_shapes_and_types(data):
    for (images, labels), count in zip(data, (2_000, 1_000), strict=True):
        assert (images.dtype, tuple(images.shape)) == (torch.uint8, (count, 28, 28))
        assert (labels.dtype, tuple(labels.shape)) == (torch.int64, (count,))
        assert set(labels.tolist()) == set(range(10))


def test_the_same_seed_draws_the_same_digits():
    images, labels = draw_digits(300, 5)
    again, labels_again = draw_digits(300, 5)
    assert (images == again).all()
    assert (labels == labels_again).all()
    assert (draw_digits(300, 6)[0] != images).any()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b + b"\0", lambda b: b"\1" + b[1:], lambda _: b"", lambda b: b[:7]]
)
def test_a_damaged_file(name, damage, copied):
    path = raw_folder(copied) / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=f"{name} is damaged.*delete it") as caught:
        load_data(copied)
    assert str(path) in str(caught.value)


def test_a_missing_file(copied, monkeypatch):
    monkeypatch.setenv(ROOT_VARIABLE, str(copied))
    assert data_root() == copied
    assert describe_data() == "MNIST"
    load_data()
    (raw_folder(copied) / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="t10k-labels-idx1-ubyte does not exist: MNIST's files"):
        load_data()


def test_downloaded_data_takes_precedence(copied, tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    copied.rename(tmp_path / "mnist")
    assert data_root() == tmp_path / "mnist"
    assert cache_folder() == tmp_path


def test_trained_once(model, small_cache, monkeypatch):
    assert not model.training
    monkeypatch.setattr("impl.evaluation.training.train", lambda *_: pytest.fail("the model was trained again"))
    again = load_model()
    assert all((value == again.state_dict()[name]).all() for name, value in model.state_dict().items())
    assert len(list((small_cache / "evaluation").iterdir())) == 1, "the folder holds something besides the weights"


def test_training_is_reproducible_and_restores_the_generator(data):
    images, labels = data[0]
    state = torch.get_rng_state()
    one, other = (train(images, labels, steps=3) for _ in range(2))
    assert (torch.get_rng_state() == state).all()
    assert all((value == other.state_dict()[name]).all() for name, value in one.state_dict().items())


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda _: b"", lambda _: b"weights", lambda b: b[:-200] + b"\0" * 200]
)
def test_a_damaged_checkpoint(damage, model, small_cache):
    (path,) = (small_cache / "evaluation").iterdir()
    good = path.read_bytes()
    path.write_bytes(damage(good))
    try:
        with pytest.raises(ValueError, match=r"is damaged .*delete it, so that the model is trained again") as caught:
            load_model()
    finally:
        path.write_bytes(good)
    assert str(path) in str(caught.value)


def test_weights_of_another_network(model, small_cache):
    (path,) = (small_cache / "evaluation").iterdir()
    good = path.read_bytes()
    torch.save({"conv1.weight": torch.zeros(3)}, path)
    try:
        with pytest.raises(ValueError, match="is damaged"):
            load_model()
    finally:
        path.write_bytes(good)


def test_an_unfinished_file_is_removed(tmp_path):
    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(tmp_path / "file", fail)
    assert not list(tmp_path.iterdir())
