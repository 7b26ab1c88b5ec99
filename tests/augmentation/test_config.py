import dataclasses

import pytest

from impl.augmentation import Config
from impl.augmentation.config import LEAST, MAX_TEXT_LENGTH, check_text


def test_defaults():
    assert dataclasses.asdict(Config()) == {
        "dataset_size": 1_200_000,
        "max_modifications": 10,
        "max_letter_count": 64,
        "batch_size": 32,
        "workers": 4,
    }


def test_every_field_has_a_minimum():
    assert list(LEAST) == [field.name for field in dataclasses.fields(Config)]


@pytest.mark.parametrize(("name", "least"), LEAST.items())
def test_minimum_values(name, least):
    assert getattr(Config(**{name: least}), name) == least
    with pytest.raises(ValueError, match=f"{name} must be an int of at least {least}, not {least - 1}"):
        Config(**{name: least - 1})


@pytest.mark.parametrize("name", LEAST)
@pytest.mark.parametrize("value", [True, 8.0, "8", None, [8]], ids=repr)
def test_wrong_types(name, value):
    with pytest.raises(TypeError, match=f"{name} must be an int of at least .*, not .* \\({type(value).__name__}\\)"):
        Config(**{name: value})


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().workers = 2


def test_unknown_key_error_names_the_key_its_value_and_the_closest_match():
    with pytest.raises(ValueError, match=r"unknown key 'batchsize' = 64; did you mean 'batch_size'\?.*dataset_size"):
        Config.from_mapping({"batchsize": 64})
    with pytest.raises(ValueError, match=r"unknown key 5 = 6; Accepted keys: dataset_size"):
        Config.from_mapping({5: 6})


def test_from_mapping_rejects_other_types():
    with pytest.raises(TypeError, match="not list"):
        Config.from_mapping([1, 2])


FILES = {
    "config.toml": "dataset_size = 1_000\nmax_modifications = 3\n",
    "config.yaml": "dataset_size: 1000\nmax_modifications: 3\n",
    "config.yml": "dataset_size: 1_000\nmax_modifications: 3\n",
}


@pytest.mark.parametrize(("name", "content"), FILES.items())
def test_file(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert Config.from_file(path) == Config.from_file(str(path)) == Config(dataset_size=1000, max_modifications=3)


@pytest.mark.parametrize("name", FILES)
def test_an_empty_file_means_the_defaults(tmp_path, name):
    (tmp_path / name).write_text("", encoding="utf-8")
    assert Config.from_file(tmp_path / name) == Config()


BAD_FILES = {
    "damaged toml": ("bad.toml", b"dataset_size = = 3", ValueError, "not a valid TOML file"),
    "damaged yaml": ("bad.yaml", b"dataset_size: [1", ValueError, "not a valid YAML file"),
    "not text": ("bad.yaml", b"\xff\xfe\x00", ValueError, "not a valid YAML file"),
    "control character": ("bad.yml", b"a: \x07", ValueError, "not a valid YML file"),
    "code in yaml": ("bad.yaml", b"!!python/object/apply:os.getcwd []", ValueError, "not a valid YAML file"),
    "list": ("bad.yaml", b"- 1\n- 2\n", TypeError, "mapping"),
    "unknown key": ("bad.toml", b"worker = 3", ValueError, "did you mean 'workers'"),
    "wrong type": ("bad.yaml", b"workers: two", TypeError, "workers must be an int"),
    "negative": ("bad.yaml", b"dataset_size: -1", ValueError, "dataset_size must be an int of at least 0, not -1"),
    "suffix": ("bad.json", b"{}", ValueError, "ends in .yaml, .yml or .toml"),
}


@pytest.mark.parametrize(("name", "content", "error", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_error_names_the_bad_file(tmp_path, name, content, error, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message) as caught:
        Config.from_file(tmp_path / name)
    assert name in str(caught.value)


def test_error_names_the_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.yaml"):
        Config.from_file(tmp_path / "nowhere.yaml")


def test_text_length():
    check_text("x" * MAX_TEXT_LENGTH)
    with pytest.raises(ValueError, match="65,537 characters; at most 65,536"):
        check_text("x" * (MAX_TEXT_LENGTH + 1))
