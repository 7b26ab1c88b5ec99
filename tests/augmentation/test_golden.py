"""The task description's golden values, byte for byte: tokens, labels, and the next draws of both generators."""

import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pytest

from impl.augmentation import VARIANTS, Config, Tokenizer
from impl.augmentation.vocabulary import VOCABULARY, clean

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))
SAME_RANDOM_DRAWS = [name for name in ("baseline", "exact") if name in VARIANTS]


def test_vocabulary():
    assert list(VOCABULARY) == GOLDEN["vocabulary"]


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: f"seed{case['seed']}")
def test_clean(case):
    assert clean(case["text"]) == case["clean"]


def test_clean_strips_before_it_drops_commas():
    assert clean(" \n A,b \t") == "ab"
    assert clean(", A") == " a"


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: f"seed{case['seed']}")
@pytest.mark.parametrize("variant", SAME_RANDOM_DRAWS)
def test_golden(variant, case):
    letters = case["max_letter_count"]
    config = Config(case["size"], max_modifications=case["max_modifications"], max_letter_count=letters)
    dataset = VARIANTS[variant](case["text"], config, seed=case["seed"])
    # The golden values were drawn by these two calls, right after the build.
    assert random.getrandbits(32) == case["python_random_after"]
    assert np.random.randint(0, 2**31) == case["numpy_random_after"]  # noqa: NPY002 - the test checks its state

    tokenizer = Tokenizer(letters)
    texts = [tokenizer.decode(row) for row in dataset.tokens[: len(case["first_texts"])]]
    assert texts == [text[: letters - 1] for text in case["first_texts"]]
    assert dataset.labels[: len(case["first_labels"])].tolist() == case["first_labels"]
    assert hashlib.sha256(dataset.tokens.astype(np.uint8).tobytes()).hexdigest() == case["tokens_sha256"]
    assert hashlib.sha256(dataset.labels.astype(np.uint8).tobytes()).hexdigest() == case["labels_sha256"]
