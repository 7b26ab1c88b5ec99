"""Weights: seeded, from a checkpoint, damaged, or of another model; and configurations that are rejected."""

import dataclasses

import pytest
import safetensors.torch
import torch

from impl.serving import VARIANTS, ServingConfig
from impl.serving.client import as_npy, as_pickle
from impl.serving.config import is_loopback
from impl.serving.http.pickled import HEADER, PICKLE
from impl.serving.model.pictures import draw_pictures, drawn
from impl.serving.model.precision import prepare
from impl.serving.model.weights import build, rebuild, source_of, state_of
from impl.serving.runtime.answer_cache import OVERHEAD, AnswerCache
from tests.serving.conftest import TINY, kinds_of

CONFIG = ServingConfig(model=TINY)


def test_seeded_weights_are_created_once(monkeypatch):
    before = torch.get_rng_state()
    first, source = build(CONFIG)
    assert (torch.get_rng_state() == before).all()
    monkeypatch.setattr(
        "impl.serving.model.weights.seeded_weights", lambda *_: pytest.fail("the weights were created again")
    )
    again = rebuild(TINY, source)
    assert all((value == again.state_dict()[name]).all() for name, value in first.state_dict().items())
    pictures, kinds = draw_pictures(40, 3)
    images = drawn(40, 3, 64) / 255
    assert (again(images).argmax(dim=1).numpy() == kinds).mean() > 0.9, "the weights do not distinguish the pictures"
    assert len(pictures) == 40


@pytest.mark.parametrize("form", ["safetensors", "pt"])
def test_a_checkpoint(form, tmp_path):
    state = {name: value + 0.01 for name, value in state_of(source_of(CONFIG)).items()}
    path = tmp_path / f"weights.{form}"
    safetensors.torch.save_file(state, path) if form == "safetensors" else torch.save(state, path)
    (tmp_path / "labels.txt").write_text("\n".join("abcdefghij"))
    config = dataclasses.replace(CONFIG, checkpoint=path, labels=tmp_path / "labels.txt", precision="float32")
    prepared = prepare(config)
    assert prepared.labels == tuple("abcdefghij")
    model = rebuild(TINY, source_of(config))
    images = drawn(5, 1, 64)
    with torch.inference_mode():
        assert (prepared.run(images) - model(images / 255)).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.safetensors", b"\xff" * 100, "cannot be read as weights"),
        ("w.pt", b"weights", "cannot be read as weights"),
        ("w.pt", b"", "cannot be read as weights"),
    ],
)
def test_a_damaged_checkpoint(name, content, message, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        prepare(dataclasses.replace(CONFIG, checkpoint=path))
    assert str(path) in str(caught.value)


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("it ran",))

    torch.save({"heads.head.bias": Evil()}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match="cannot be read as weights"):
        prepare(dataclasses.replace(CONFIG, checkpoint=tmp_path / "w.pt"))


def test_weights_of_another_model(tmp_path):
    torch.save({"fc.weight": torch.zeros(3, 3)}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"does not hold the weights of .*: heads.head.bias is not there"):
        prepare(dataclasses.replace(CONFIG, checkpoint=tmp_path / "w.pt"))
    torch.save({"heads.head.bias": torch.zeros(3)}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"does not hold the weights of .*Missing key"):
        prepare(dataclasses.replace(CONFIG, checkpoint=tmp_path / "w.pt"))


def test_labels_that_do_not_fit_the_model(tmp_path):
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    with pytest.raises(ValueError, match=r"there are 2 labels, and .* has 10 classes"):
        prepare(dataclasses.replace(CONFIG, labels=tmp_path / "labels.txt"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_unknown_model(variant):
    with pytest.raises(ValueError, match="torchvision has no classifier 'vit_xxl'"):  # noqa: PT012 - one variant raises it later
        app = VARIANTS[variant](ServingConfig(model="vit_xxl"))
        app.extensions["serving"].loaded(60)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": "int4"}, "precision must be one of"),
        ({"max_batch": 0}, "max_batch must be at least 1"),
        ({"max_batch": 64, "max_queue": 63}, r"max_queue \(63 images\) must be at least max_batch"),
        ({"cache_mb": float("nan")}, "cache_mb must be at least 0"),
        ({"checkpoint": "nowhere"}, "checkpoint: there is no file 'nowhere'"),
        ({"checkpoint": "a", "weights": "b"}, "give one of them"),
    ],
)
def test_an_invalid_configuration(settings, message):
    with pytest.raises(ValueError, match=message):
        ServingConfig(**settings)


def test_loopback():
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.1", "example.org", "")))  # noqa: S104 - nothing is bound


def test_every_variant_predicts_the_same(build):
    pictures, _ = draw_pictures(12, 8)
    body, kind = as_npy(pictures)
    expected = kinds_of(build().test_client().post("/predict", data=body, content_type=kind).json)
    assert len(set(expected)) >= 6
    tensor, kind = as_pickle_of_64(pictures)
    reads_pickles = [name for name, variant in VARIANTS.items() if PICKLE in variant.accepts]
    for variant in [*reads_pickles, reads_pickles[-1]]:  # the last one twice, the second time from its cache
        answer = VARIANTS[variant](CONFIG).test_client().post("/predict", data=tensor, content_type=kind)
        assert answer.json == {"success": True}
        assert list(map(int, answer.headers[HEADER].split())) == expected, variant


def as_pickle_of_64(pictures):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("impl.serving.client.SIDE", 64)
        return as_pickle(pictures)


def test_the_answer_cache_stays_within_its_bound():
    cache = AnswerCache(10 * (OVERHEAD + 40), "model")
    images = torch.randint(0, 256, (100, 3, 4, 4), dtype=torch.uint8)
    keys = [cache.key(image) for image in images]
    assert len(set(keys)) == 100
    for place, key in enumerate(keys):
        cache.put(key, torch.full((10,), float(place)))
        cache.get(keys[0])  # keep the first recently used
        assert cache.used <= cache.limit
    assert len(cache) == 10
    assert cache.get(keys[0])[0] == 0
    assert cache.get(keys[50]) is None
    assert cache.get(keys[99])[0] == 99
    assert AnswerCache(1000, "another").key(images[0]) != keys[0]
    assert cache.key(images[0].float()) != keys[0]
    cache.put(keys[1], torch.zeros(10_000))
    assert cache.get(keys[1]) is None, "an answer larger than the bound is not kept"
    assert len(cache) == 10
