"""Every kind of bad input raises a clear error at once, in every variant."""

import time

import pytest

from impl.augmentation import VARIANTS, Config, create_dataloader
from impl.augmentation.config import MAX_TEXT_LENGTH

SMALL = Config(dataset_size=3, workers=1)
# Bad input is rejected before any worker process starts. The default sizes show that nothing is built first either.
LARGE = Config()

every_variant = pytest.mark.parametrize("variant", VARIANTS)


@every_variant
@pytest.mark.parametrize("text", [None, 5, b"bytes", ["text"]], ids=repr)
def test_text_must_be_a_str(variant, text):
    with pytest.raises(TypeError, match=f"text must be a str, not {type(text).__name__}"):
        VARIANTS[variant](text, LARGE)


@every_variant
def test_text_of_100_mb_fails_at_once(variant):
    text = "a" * 100_000_000
    start = time.perf_counter()
    with pytest.raises(ValueError, match="text has 100,000,000 characters; at most 65,536 are accepted"):
        VARIANTS[variant](text, LARGE)
    assert time.perf_counter() - start < 1.0


@every_variant
def test_the_loader_checks_the_text_too(variant):
    with pytest.raises(TypeError, match="text must be a str"):
        create_dataloader(None, LARGE, variant=variant)
    with pytest.raises(ValueError, match="characters; at most"):
        create_dataloader("a" * (MAX_TEXT_LENGTH + 1), LARGE, variant=variant)


@pytest.mark.parametrize(
    ("key", "value"), [("max_modifications", -1), ("max_letter_count", 1), ("dataset_size", -1), ("batch_size", 0)]
)
def test_config_rejects_bad_values(key, value):
    with pytest.raises(ValueError, match=f"{key} must be an int of at least"):
        Config(**{key: value})


@every_variant
@pytest.mark.parametrize("text", ["", "  ", ",,", "漢字", "\n\t\0"], ids=repr)
def test_empty_text_gives_beg_end(variant, text):
    tokens = VARIANTS[variant](text, SMALL).tokens
    assert tokens.tolist() == [[1, 2] + [0] * 62] * 3
