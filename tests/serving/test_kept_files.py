"""Kept files that are damaged, or of another model, are made anew with a warning; they are never served."""

import dataclasses
import hashlib
import json
import shutil
import threading

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from torchvision.models._api import register_model

from impl.serving import VARIANTS, ServingConfig
from impl.serving.__main__ import main
from impl.serving.http import server
from impl.serving.http.pickled import PICKLE
from impl.serving.model import precision as choice
from impl.serving.model import weights
from impl.serving.model.pictures import drawn
from impl.serving.model.precision import prepare
from impl.serving.model.snapshot import SEAL, snapshots_of
from impl.serving.model.weights import build, source_of, state_of
from impl.shared.cache import CACHE_VARIABLE
from tests.serving.conftest import TINY
from tests.serving.test_precision import BFLOAT16

OTHER = "serving_tests_another_vit"
if OTHER not in torchvision.models.list_models():

    @register_model(name=OTHER)
    def another_vit(weights=None, num_classes=10):
        return torchvision.models.VisionTransformer(64, 16, 1, 4, 64, 160, num_classes=num_classes)


IMAGES = drawn(4, 1, 64)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A cache folder in which everything has been made, for the tests to copy, and the logits by precision."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))
        return folder, {name: logits(name) for name in ("int8", "float32")}


@pytest.fixture
def cache(made, tmp_path, monkeypatch):
    folder = shutil.copytree(made[0], tmp_path / "cache")
    monkeypatch.setenv(CACHE_VARIABLE, str(folder))
    return folder


@pytest.fixture
def printed_by(monkeypatch, capsys):
    """Start a server that cannot start; return the one line that says why. One that does start is stopped."""

    def stopped(running):
        timer = threading.Timer(20, running.stop)
        timer.start()
        running.run()
        timer.cancel()

    monkeypatch.setattr(server, "until_stopped", stopped)

    def start(*arguments):
        try:
            assert main([*arguments, "--model", TINY, "--port", "0"]) == 1
        except SystemExit as error:  # a variant that loads its model before it listens
            printed = str(error)
        else:
            printed = capsys.readouterr().err
        assert "Traceback" not in printed
        (line,) = [line for line in printed.splitlines() if line.startswith("cannot start: ")]
        return line

    return start


def logits(precision, model=TINY):
    return prepare(ServingConfig(model=model, precision=precision)).run(IMAGES)


def snapshot(precision, model=TINY):
    config = ServingConfig(model=model)
    return snapshots_of(config, source_of(config)) / precision


def flip(path, place):
    """Flip one bit, at a share of the file's length."""
    content = bytearray(path.read_bytes())
    content[min(len(content) - 1, int(place * len(content)))] ^= 4
    path.write_bytes(content)


def truncate(path, place):
    path.write_bytes(path.read_bytes()[: int(place * path.stat().st_size)])


DAMAGES = {
    "a bit of its header flipped": lambda path: flip(path, 0.0),
    "a bit in the middle flipped": lambda path: flip(path, 0.5),
    "its last bit flipped": lambda path: flip(path, 1.0),
    "cut off": lambda path: truncate(path, 0.7),
    "empty": lambda path: truncate(path, 0.0),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}
FILES = [("int8", "qkv.panels.npy"), ("int8", "norm.bias.npy"), ("int8", SEAL)]
FILES += [("float32", "001.safetensors"), ("float32", SEAL)]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("precision", "name"), FILES)
def test_a_damaged_snapshot_is_made_anew(precision, name, damage, made, cache, caplog):
    path = snapshot(precision) / name
    before = path.read_bytes()
    DAMAGES[damage](path)
    assert path.read_bytes() != before
    assert torch.equal(logits(precision), made[1][precision])
    assert "is damaged, and is made anew" in caplog.text
    assert name in caplog.text
    assert path.read_bytes() == before
    caplog.clear()
    assert torch.equal(logits(precision), made[1][precision])
    assert not caplog.records, "the second start found it damaged too"


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_a_missing_file_is_made_anew(precision, made, cache, caplog):
    name = "head.bias.npy" if precision == "int8" else "000.safetensors"
    (snapshot(precision) / name).unlink()
    assert torch.equal(logits(precision), made[1][precision])
    assert name in caplog.text
    (snapshot(precision) / SEAL).unlink()
    caplog.clear()
    assert torch.equal(logits(precision), made[1][precision])
    assert not caplog.records, "a snapshot that was never completed is no damage"


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_another_models_snapshot_is_not_served(precision, made, cache, caplog):
    """The whole folder with its seal, and a single array of the same shape and of another shape."""
    logits(precision, OTHER)
    name, odd = ("out.panels.npy", "up.panels.npy") if precision == "int8" else ("000.safetensors", "001.safetensors")
    own, other = snapshot(precision), snapshot(precision, OTHER)
    for number, replace in enumerate(
        (
            lambda: (shutil.rmtree(own), shutil.copytree(other, own)),
            lambda: shutil.copy(other / name, own / name),
            lambda: shutil.copy(other / odd, own / odd),
            lambda: shutil.copy(other / SEAL, own / SEAL),
        )
    ):
        caplog.clear()
        replace()
        assert torch.equal(logits(precision), made[1][precision])
        assert "is made anew" in caplog.text, number


@pytest.mark.skipif(not BFLOAT16, reason="oneDNN has no bfloat16 products for this processor")
def test_a_damaged_snapshot_in_bfloat16(made, cache, caplog):
    before = logits("bfloat16")
    flip(snapshot("bfloat16") / "002.safetensors", 0.9)
    assert torch.equal(logits("bfloat16"), before)
    assert "is damaged, and is made anew" in caplog.text
    shutil.copytree(snapshot("bfloat16"), snapshot("float32"), dirs_exist_ok=True)
    assert torch.equal(logits("float32"), made[1]["float32"]), "another precision's snapshot was served"


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_seeded_weights_are_made_anew(damage, made, cache, caplog):
    path = source_of(ServingConfig(model=TINY)).path
    before = path.read_bytes()
    DAMAGES[damage](path)
    model, source = build(ServingConfig(model=TINY))
    assert source.path.read_bytes() == before
    assert "the seeded weights are damaged, and are made anew" in caplog.text
    right = safetensors.torch.load(before)
    assert all(torch.equal(value, right[name]) for name, value in model.state_dict().items())


def test_seeded_weights_of_another_model(cache, caplog):
    own, other = (source_of(ServingConfig(model=model)).path for model in (TINY, OTHER))
    before = own.read_bytes()
    shutil.copy(other, own)
    build(ServingConfig(model=TINY))
    assert own.read_bytes() == before
    # As if the model had had another shape when they were made.
    shutil.copy(other, own)
    weights.write_seal(own.with_suffix(".seal.json"), {"model": TINY, "weights": weights.SEEDED}, [own.name])
    caplog.clear()
    build(ServingConfig(model=TINY))
    assert own.read_bytes() == before
    assert "are not those of this model, and are made anew" in caplog.text


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "optimised"])
def test_the_originals_read_no_damaged_weights(variant, cache):
    path = source_of(ServingConfig(model=TINY)).path
    before = path.read_bytes()
    flip(path, 0.6)
    VARIANTS[variant](ServingConfig(model=TINY))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"", b"{", b"0.99", b"\xff\xfe", b"[" * 10**5, b'{"digest": 1, "facts": {"share": 1}, "files": {}}']
)
def test_a_damaged_agreement_is_measured_again(content, cache, caplog, monkeypatch):
    monkeypatch.setattr(choice, "available", lambda _device: ["int8", "float32"])
    prepared = prepare(ServingConfig(model=TINY))
    assert prepared.precision == "int8"
    path = snapshot("int8").parent / "int8-agreement.json"
    path.write_bytes(content)
    assert prepare(ServingConfig(model=TINY)).agreement == prepared.agreement
    assert "the agreement with float32 is damaged, and is measured again" in caplog.text
    said = json.loads(path.read_bytes())
    said["facts"]["share"] = 0.1
    path.write_text(json.dumps(said))
    assert prepare(ServingConfig(model=TINY)).agreement == prepared.agreement


def test_an_agreement_of_other_weights(cache, monkeypatch):
    monkeypatch.setattr(choice, "available", lambda _device: ["int8", "float32"])
    path = snapshot("int8").parent / "int8-agreement.json"
    prepare(ServingConfig(model=TINY))
    shutil.copy(snapshot("int8") / SEAL, path)
    assert prepare(ServingConfig(model=TINY)).agreement is not None


def test_a_downloaded_file_must_have_the_digest_of_its_name(tmp_path, monkeypatch, caplog):
    """torchvision checks it at the download only, and reads a damaged file without a word."""
    content = b"weights"
    name = f"squeezenet1_1-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    weight = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    path = tmp_path / "checkpoints" / name
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(type(weight), "url", property(lambda _: f"https://example.org/{name}"), raising=False)
    monkeypatch.setattr(
        type(weight), "get_state_dict", lambda *_, **__: (path.parent.mkdir(exist_ok=True), path.write_bytes(content))
    )
    config = ServingConfig(model="squeezenet1_1", weights="IMAGENET1K_V1")
    source_of(config, checked=True)
    source_of(config, checked=True)
    assert not caplog.records
    flip(path, 0.5)
    source_of(config)  # a start from a snapshot does not read the file
    assert path.read_bytes() != content
    source_of(config, checked=True)
    assert path.read_bytes() == content
    assert "is downloaded again" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cat\ndog\n", "there are 2 labels, and serving_tests_tiny_vit has 10 classes"),
        (b"", "has no line with a name"),
        (b" \n\n", "has no line with a name"),
        (b"\xff\xfe\x00cat", "cannot be read as text in UTF-8"),
        (b"a\n" * 11, "there are 11 labels"),
    ],
)
@pytest.mark.parametrize("variant", VARIANTS)
def test_labels_that_do_not_fit_end_the_start(variant, content, message, made, tmp_path, monkeypatch, printed_by):
    """Every variant's, and with a snapshot as without one."""
    monkeypatch.setenv(CACHE_VARIABLE, str(made[0]))
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    precision = [] if PICKLE in VARIANTS[variant].accepts else ["--precision", "int8"]
    assert message in printed_by(variant, "--labels", str(path), *precision)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    "state",
    [
        {"heads.head.bias": torch.zeros(3)},
        {"heads.head.bias": torch.tensor(3.0)},
        {"heads.head.bias": "text"},
        "no dict",
        None,
    ],
    ids=["missing", "scalar", "text", "string", "none"],
)
def test_a_checkpoint_that_does_not_fit_ends_the_start(variant, state, tmp_path, printed_by):
    path = tmp_path / "w.pt"
    torch.save(state, path)
    assert str(path) in printed_by(variant, "--checkpoint", str(path))


def test_damaged_checkpoints_end_the_start_with_a_reason(made, tmp_path, monkeypatch):
    """A checkpoint is the user's own: it is not made anew. Bytes changed at random, in both formats."""
    monkeypatch.setenv(CACHE_VARIABLE, str(made[0]))
    state, random = state_of(source_of(ServingConfig(model=TINY))), np.random.default_rng(3)
    torch.save(state, tmp_path / "w.pt")
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    config, reasons = ServingConfig(model=TINY), 0
    for form in ("pt", "safetensors"):
        whole = (tmp_path / f"w.{form}").read_bytes()
        for number in range(60):
            content = bytearray(whole)
            for _ in range(1 + number % 3):
                content[random.integers(0, min(len(content), 10 ** random.integers(1, 6)))] = random.integers(0, 256)
            path = tmp_path / f"{number}.{form}"
            path.write_bytes(content[: random.integers(1, len(content))] if number % 4 == 0 else content)
            try:
                build(dataclasses.replace(config, checkpoint=path))
            except ValueError as error:
                assert str(path) in str(error)  # noqa: PT017 - not every change is noticed
                reasons += 1
    assert reasons >= 40
