"""Properties of every variant, whichever random numbers it draws."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from impl.augmentation import VARIANTS, Config, Tokenizer, batches, multiprocessing_pool, process_pool
from impl.augmentation.vocabulary import BEG, END, PAD, UNK, clean

TEXT = "01:ccInterview-02:ccInterview-03:ccInterview-04:ccInterview"
WORDS = "The quick brown fox, jumps over the lazy dog (twice)!"
# These draw from the global generators; the others must not touch them.
USES_THE_GLOBAL_GENERATORS = {"baseline", "exact"}
POOLS = {"process_pool": process_pool, "multiprocessing_pool": multiprocessing_pool}

every_variant = pytest.mark.parametrize("variant", VARIANTS)


def lengths_of(tokens):
    """Check that each row is <BEG>, characters, <END> if it fits, <PAD>; return the number of characters per row."""
    assert (tokens[:, 0] == BEG).all()
    body = tokens[:, 1:]
    characters = (body > UNK).sum(axis=1)
    columns = np.arange(body.shape[1])
    assert ((body > UNK) == (columns < characters[:, None])).all()
    assert ((body == END) == (columns == characters[:, None])).all()
    assert ((body == PAD) == (columns > characters[:, None])).all()
    return characters


@every_variant
@pytest.mark.parametrize(
    ("text", "size", "letters"),
    [
        (TEXT, 333, 64),
        (WORDS, 257, 64),
        (WORDS, 100, 20),
        (TEXT, 50, 2),
        (WORDS, 50, 3),
        (TEXT, 1, 64),
        (TEXT, 60, 61),
        ("ẞß" * 60, 9, 64),
    ],
    ids=["one word", "words", "truncated", "L2", "L3", "one row", "just fits", "longer than L"],
)
def test_rows_and_labels(variant, text, size, letters):
    dataset = VARIANTS[variant](text, Config(size, max_letter_count=letters, workers=1)).to_host()
    assert len(dataset) == size
    assert dataset.tokens.shape == (size, letters)
    assert dataset.tokens.dtype == np.uint8
    assert dataset.labels.shape == (size,)
    assert set(dataset.labels.tolist()) <= {0, 1}
    lengths = lengths_of(dataset.tokens)
    assert lengths.max() <= min(len(clean(text)), letters - 1)
    assert lengths.min() >= min(len(clean(text)) - 11, letters - 1)


@every_variant
def test_no_rows(variant):
    dataset = VARIANTS[variant](TEXT, Config(dataset_size=0, workers=1))
    assert dataset.tokens.shape == (0, 64)
    assert dataset.labels.shape == (0,)
    assert len(dataset) == 0


@every_variant
def test_items(variant):
    dataset = VARIANTS[variant](WORDS, Config(dataset_size=3, max_letter_count=32, workers=1))
    tokens, label = dataset[2]
    assert tokens.tolist() == dataset.tokens[2].tolist()
    assert label.tolist() == [dataset.labels[2]]
    with pytest.raises(IndexError):
        dataset[3]


@every_variant
def test_seeds(variant):
    config = Config(dataset_size=200, workers=1)
    build = VARIANTS[variant]
    one, same, other = (build(WORDS, config, seed).to_host() for seed in (1, 1, 2))
    assert np.array_equal(one.tokens, same.tokens)
    assert np.array_equal(one.labels, same.labels)
    assert not np.array_equal(one.tokens, other.tokens)
    assert not np.array_equal(one.labels, other.labels)
    assert np.array_equal(
        *(dataset.to_host().tokens for dataset in (build(WORDS, config), build(WORDS, config, seed=7)))
    )


@every_variant
def test_a_zero_budget_still_allows_one_change(variant):
    dataset = VARIANTS[variant](WORDS, Config(dataset_size=300, max_modifications=0, workers=1)).to_host()
    original = clean(WORDS)
    lengths = lengths_of(dataset.tokens)
    assert set(lengths.tolist()) == {len(original) - 1, len(original)}
    substituted = [
        sum(a != b for a, b in zip(text, original, strict=True))
        for text in map(Tokenizer(64).decode, dataset.tokens[lengths == len(original)])
        if sorted(text) != sorted(original)
    ]
    assert set(substituted) == {1}


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "baseline"])
@pytest.mark.parametrize("text", ["a", "ß", "ab", "a b"])
def test_a_text_emptied_by_edits_is_accepted(variant, text):
    tokens = VARIANTS[variant](text, Config(dataset_size=2000, max_letter_count=8, workers=1)).to_host().tokens
    assert lengths_of(tokens).min() == 0


def test_a_text_emptied_by_edits_raises_in_the_baseline():
    with pytest.raises(IndexError):
        VARIANTS["baseline"]("a", Config(dataset_size=2000))


@pytest.mark.parametrize("variant", sorted(VARIANTS.keys() - USES_THE_GLOBAL_GENERATORS))
def test_global_generators_are_not_touched(variant):
    python_state, numpy_state = random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002 - see the test's name
    VARIANTS[variant](WORDS, Config(dataset_size=100, workers=1))
    assert random.getstate() == python_state
    np.testing.assert_equal(np.random.get_state(legacy=False), numpy_state)  # noqa: NPY002 - see the test's name


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_pool_results_do_not_depend_on_the_number_of_workers(pool):
    config = Config(dataset_size=2 * batches.BATCH_ROWS + 1, workers=3)
    dataset = pool.build(TEXT, config)
    parts = list(map(batches.make_batch, batches.jobs(clean(TEXT), config, 7)))
    assert [len(labels) for _, labels in parts] == [batches.BATCH_ROWS, batches.BATCH_ROWS, 1]
    assert np.array_equal(dataset.tokens, np.concatenate([tokens for tokens, _ in parts]))
    assert np.array_equal(dataset.labels, np.concatenate([labels for _, labels in parts]))
    assert not np.array_equal(*[tokens for tokens, _ in parts[:2]])


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_pools_reraise_a_worker_error(pool, monkeypatch):
    monkeypatch.setattr(pool, "make_batch", os.strerror)  # can be pickled by name, and raises TypeError for a job
    with pytest.raises(TypeError):
        pool.build(TEXT, Config(dataset_size=10, workers=1))


def test_importing_the_package_does_not_import_torch():
    code = "import sys, impl.augmentation; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
