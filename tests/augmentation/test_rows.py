"""What `optimised` promises beyond its distribution: row i is a pure function of (seed, i), wherever it is computed."""

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from impl.augmentation import VARIANTS, Config, rows
from impl.augmentation.philox import philox4x32
from impl.augmentation.rows import CHUNK, Rows

TEXT = "01:ccInterview-02:ccInterview-03:ccInterview-04:ccInterview"
WORDS = "The quick brown fox, jumps over the lazy dog (twice)!"
LONG = f"{TEXT} {WORDS} " * 3  # more than 253 characters: positions exceed uint8, letters get random words of their own


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    # The known-answer vectors published with Random123 (kat_vectors, philox4x32 with 10 rounds).
    [
        ([0, 0, 0, 0], [0, 0], "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_matches_the_published_vectors(counter, key, expected):
    words = philox4x32(*map(np.uint32, counter), *map(np.uint32, key))
    assert " ".join(f"{int(word):08x}" for word in words) == expected


@pytest.mark.parametrize("text", [TEXT, WORDS, LONG, "ab", ""], ids=["one word", "words", "long", "short", "empty"])
def test_a_row_depends_only_on_its_seed_and_number(text):
    generator = Rows(text, 10, 64, seed=7)
    whole, labels = generator.compute(0, 500)
    for first, count in [(0, 1), (1, 1), (63, 2), (64, 64), (100, 333), (499, 1)]:
        part, part_labels = generator.compute(first, count)
        assert np.array_equal(part, whole[first : first + count])
        assert np.array_equal(part_labels, labels[first : first + count])
    other, other_labels = Rows(text, 10, 64, seed=8).compute(0, 500)
    assert not np.array_equal(labels, other_labels)
    assert text == "" or not np.array_equal(whole, other)


def test_both_halves_of_the_seed_matter():
    seeds = [1, 2**32 + 1, 2**32, 2**64 - 1]
    outputs = {Rows(TEXT, 10, 64, seed).compute(0, 64)[0].tobytes() for seed in seeds}
    assert len(outputs) == len(seeds)


def test_row_numbers_beyond_32_bits_give_different_rows():
    generator = Rows(TEXT, 10, 64, seed=7)
    low, high = generator.compute(5, 64)[0], generator.compute(2**32 + 5, 64)[0]
    assert not np.array_equal(low, high)
    # A group of 64 rows across the 32-bit boundary.
    across = generator.compute(2**32 - 10, 64)[0]
    assert np.array_equal(across[15:], high[:49])


@pytest.mark.parametrize("width", [2, 3, 8, 61, 63, 64, 65, 100])
def test_a_narrower_width_only_truncates(width):
    wide = Rows(WORDS, 10, 128, seed=3).compute(0, 300)[0]
    assert np.array_equal(Rows(WORDS, 10, width, seed=3).compute(0, 300)[0], wide[:, :width])


@pytest.mark.parametrize("threads", [2, 3, 15])
def test_any_number_of_threads_gives_the_same_rows(threads):
    generator = Rows(WORDS, 10, 64, seed=7)
    count = 3 * CHUNK + 17
    alone = generator.compute(0, count)
    together = generator.compute(0, count, threads)
    assert np.array_equal(alone[0], together[0])
    assert np.array_equal(alone[1], together[1])


def test_an_error_in_a_thread_reaches_the_caller(monkeypatch):
    def fail(*_):
        raise RuntimeError("kernel")

    monkeypatch.setattr(rows, "fill_rows", fail)
    with pytest.raises(RuntimeError, match="kernel"):
        Rows(TEXT, 10, 64, seed=7).compute(0, 2 * CHUNK, 2)


def test_threads_can_build_concurrently():
    config = Config(dataset_size=2 * CHUNK + 5)
    expected = VARIANTS["optimised"](TEXT, config).tokens
    with ThreadPoolExecutor(6) as pool:
        for dataset in pool.map(lambda _: VARIANTS["optimised"](TEXT, config), range(12)):
            assert np.array_equal(dataset.tokens, expected)


def build_checksum(queue):
    tokens = VARIANTS["optimised"](TEXT, Config(dataset_size=2 * CHUNK + 5)).tokens
    queue.put(int(tokens.astype(np.uint64).sum()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings(
    "ignore:.*fork.*:DeprecationWarning"
)  # Python 3.12 warns about fork with threads, the case under test
def test_a_forked_child_can_build_after_its_parent_did():
    expected = int(VARIANTS["optimised"](TEXT, Config(dataset_size=2 * CHUNK + 5)).tokens.astype(np.uint64).sum())
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=build_checksum, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == expected
    child.join(timeout=60)
    assert child.exitcode == 0


@pytest.mark.parametrize(("seed", "error"), [(-1, ValueError), (2**64, ValueError), (1.5, TypeError), ("7", TypeError)])
def test_an_invalid_seed(seed, error):
    with pytest.raises(error, match="seed must be"):
        Rows(TEXT, 10, 64, seed)


def test_a_budget_far_larger_than_the_text():
    lengths = (Rows("abc", 10**9, 8, seed=1).compute(0, 5000)[0] > 3).sum(axis=1)
    assert set(lengths.tolist()) == {0, 1, 2, 3}
