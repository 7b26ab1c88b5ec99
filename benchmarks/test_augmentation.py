"""The claims of the augmentation case.

`exact` gives the baseline's rows byte for byte and `optimised` rows of the same distribution; both are faster by the
ratios below, `optimised` in a small multiple of the time it takes to write its result at all, in a fraction of the
baseline's memory; and its loader serves an epoch faster by the ratio below. The pools promise nothing: they are here
because they are what people try first.
"""

import itertools
import os
import random
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest

from impl.augmentation import VARIANTS, Config, Tokenizer, create_dataloader
from impl.augmentation.dataset import Dataset
from impl.augmentation.loader import EndlessLoader

TEXT = "01:ccInterview-02:ccInterview-03:ccInterview-04:ccInterview"
WORDS = "The quick brown fox, jumps over the lazy dog (twice)!"

# Rows, and how often each is timed. One row is where no optimisation wins: `optimised` computes 64 and throws 63 away,
# the pools start processes for it. 1,200,000 is the size of the task.
SIZES = {1: 5, 20_000: 3, 1_200_000: 1}

# Ratios against the baseline in one run, by duels at ROWS rows: a proof takes some 17 pairs, and the baseline 0.5 s for
# 20,000 rows. Worst to best of several runs, with other programs on the machine and without:
#
#   machine                              Python   date         numpy_vectorised   exact      optimised
#   AMD EPYC Turin (Zen 5), 2 cores      3.11     2026-11-23   11.8 to 12.6       39 to 42   260 to 520
#   the same, 1,200,000 rows                                   15 to 16           49 to 53   933 to 1,520
FLOORS = {"numpy_vectorised": 6, "exact": 20, "optimised": 120}
ROWS = {"numpy_vectorised": 20_000, "exact": 20_000, "optimised": 50_000}

# Peak memory against the baseline's, in fresh processes, at 200,000 rows.
#
#   machine                              Python   date         numpy_vectorised   exact      optimised
#   AMD EPYC Turin (Zen 5), 2 cores      3.11     2026-11-23   0.10, 0.11         0.08       0.08
CEILINGS = {"numpy_vectorised": 0.35, "exact": 0.15, "optimised": 0.15}
MEMORY_ROWS = 200_000

# `optimised` against filling an array of the result's size that is already in memory: at most this many times its
# time (the aim is 20; 11 to 12 seen, and 20 where a neighbour had a core). One epoch of the streamed loader against
# the baseline's, at 30,000 rows (40, and 82 to 172 seen; without workers, at 100,000: 14 to 25), and `optimised`
# against other people's augmenters (37 to 71 and 507 to 613 seen). Machine and date as above.
FILLS = 40
LOADER_FLOOR = 15
WORKERLESS_FLOOR = 5
PEER_FLOORS = {"fasttextaug": 12, "nlpaug": 150}

# Against another revision: some milliseconds each, but for the pools, which mostly start processes. How long that takes
# varies by more than the few per cent that are looked for elsewhere.
REVISION_ROWS = {"numpy_vectorised": 5_000, "exact": 20_000, "optimised": 100_000}
FEW_ROWS = 500
STARTING_PROCESSES = pytest.mark.gate(tolerance=10)

BYTE_FOR_BYTE = ("baseline", "exact")
# Five standard errors: a right variant fails once in 1.7 million comparisons. The tests in tests/augmentation, which
# are much sharper, say the rest.
STANDARD_ERRORS = 5


def build(variant, rows, text=TEXT):
    return VARIANTS[variant](text, Config(dataset_size=rows))


def assert_equal(expected, found):
    """Every id and label is the baseline's."""
    for name in ("tokens", "labels"):
        wanted, got = getattr(expected, name), getattr(found, name)
        assert wanted.shape == got.shape, f"{name} have shape {got.shape} and not {wanted.shape}"
        wrong = np.argwhere(wanted != got)
        if len(wrong):
            first = tuple(wrong[0])
            raise AssertionError(
                f"{len(wrong)} of {wanted.size} {name} differ from the baseline's; the first at "
                f"{list(map(int, first))}: {got[first]} instead of {wanted[first]}"
            )


def assert_alike(expected, found):
    """Shapes are the baseline's; row lengths, shares of each id and labels are its own up to chance."""
    assert expected.tokens.shape == found.tokens.shape, f"shape {found.tokens.shape} and not {expected.tokens.shape}"
    assert found.tokens.dtype == np.uint8, f"tokens are {found.tokens.dtype}"
    for name, measure in MEASURES.items():
        wanted, got = measure(expected), measure(found)
        error = np.sqrt((wanted.var() + got.var()) / max(len(wanted), 1))
        apart = abs(wanted.mean() - got.mean()) if len(wanted) else 0
        assert apart <= STANDARD_ERRORS * error, (
            f"{name}: {got.mean():.4f} on average, the baseline's {wanted.mean():.4f}, which is "
            f"{apart / error if error else np.inf:.1f} standard errors away; {STANDARD_ERRORS} are chance"
        )


def assert_equal_or_alike(expected, found):
    """Seeded alike, two revisions give the same rows; where one draws in another way, rows of the same distribution."""
    if not np.array_equal(expected.tokens, found.tokens) or not np.array_equal(expected.labels, found.labels):
        assert_alike(expected, found)


MEASURES = {
    "length of a row": lambda dataset: (dataset.tokens > 0).sum(axis=1).astype(float),
    "unchanged rows": lambda dataset: (dataset.tokens == most_frequent_row(dataset)).all(axis=1).astype(float),
    "capitals in a row": lambda dataset: ((dataset.tokens >= 26) & (dataset.tokens < 52)).sum(axis=1).astype(float),
    "labels": lambda dataset: dataset.labels.astype(float),
}


def most_frequent_row(dataset):
    """The text itself: a quarter of the rows and more are unchanged."""
    rows, counts = np.unique(dataset.tokens, axis=0, return_counts=True)
    return rows[counts.argmax()] if len(rows) else np.empty(dataset.tokens.shape[1])


def matcher(variant):
    return assert_equal if variant in BYTE_FOR_BYTE else assert_alike


@pytest.mark.parametrize("text", [TEXT, WORDS, "straße & ẞ", ""], ids=["one word", "words", "eszett", "empty"])
@pytest.mark.parametrize("rows", [0, 1, 63, 5_001])
@pytest.mark.parametrize("variant", list(VARIANTS)[1:])
def test_matches(variant, rows, text):
    if rows < 1000 and variant not in BYTE_FOR_BYTE:
        assert build(variant, rows, text).tokens.shape == (rows, 64)  # too few rows to have a distribution
        return
    expected, state = build("baseline", rows, text), (random.random(), np.random.random())  # noqa: NPY002 - the legacy generator is part of the claim
    matcher(variant)(expected, build(variant, rows, text))
    if variant in BYTE_FOR_BYTE:
        assert (random.random(), np.random.random()) == state  # noqa: NPY002 - likewise


@pytest.mark.parametrize("rows", SIZES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_time(variant, rows, benchmark):
    benchmark.group = f"augmentation {rows:,} rows"
    build(variant, 1)  # compiled, or loaded from the cache: see test_compile
    dataset = benchmark.pedantic(build, (variant, rows), rounds=SIZES[rows])
    assert dataset.tokens.shape == (rows, 64)
    assert set(np.unique(dataset.labels)) <= {0, 1}
    texts = {Tokenizer(64).decode(row) for row in dataset.tokens[:100]}
    assert len(texts) > 50 or rows == 1, f"only {len(texts)} of 100 rows differ"


@pytest.mark.parametrize("variant", FLOORS)
def test_speedup(variant, duel):
    rows = ROWS[variant]
    duel(partial(build, "baseline", rows), partial(build, variant, rows), floor=FLOORS[variant], check=matcher(variant))


def test_against_filling_memory(duel):
    """How far from the limit: nothing can be faster than writing the result."""
    rows = max(SIZES)
    memory = np.ones((rows, 64), np.uint8)
    duel(partial(memory.fill, 1), partial(build, "optimised", rows), floor=1 / FILLS)


def test_epoch_of_the_loader(duel):
    """Against the baseline's loader as it is configured."""
    duel(*epochs(30_000, Config().workers), floor=LOADER_FLOOR, check=assert_same_batches)


def test_epoch_without_workers(duel):
    """And as it is fastest here: its workers cost more than they bring."""
    duel(*epochs(100_000, 0), floor=WORKERLESS_FLOOR, check=assert_same_batches)


def epochs(rows, workers):
    """Both loaders serve the same rows, so that every batch can be compared."""
    config = Config(dataset_size=rows)
    dataset, streamed, _ = create_dataloader(TEXT, config)
    stored = EndlessLoader(Dataset(dataset.tokens, dataset.labels), config.batch_size, workers)
    return partial(epoch, stored), partial(epoch, streamed)


def epoch(loader):
    """One epoch from a standing start: nothing has been fetched ahead. Workers that were started before go on."""
    return list(itertools.islice(loader, loader.batches_per_epoch))


def assert_same_batches(expected, found):
    assert len(expected) == len(found), f"{len(found)} batches and not {len(expected)}"
    for number, (wanted, got) in enumerate(zip(expected, found, strict=True)):
        for part in (0, 1):
            assert (wanted[part] == got[part]).all(), f"batch {number} differs"


def fasttextaug_misspell(rows):
    """The fastest of its ways to misspell `rows` copies: a list or one call with n, on 1 to 8 threads."""
    char = pytest.importorskip("fasttextaug.augmenter.char")
    augmenter = char.RandomCharAug(action="substitute")
    texts = [TEXT.lower()] * rows
    ways = [
        way
        for threads in (1, 2, 4, 8)
        for way in (
            partial(augmenter.augment, texts, num_thread=threads),
            partial(augmenter.augment, TEXT.lower(), n=rows, num_thread=threads),
        )
    ]
    return min(ways, key=seconds)


def nlpaug_misspell(rows):
    char = pytest.importorskip("nlpaug.augmenter.char")
    return partial(char.RandomCharAug(action="substitute").augment, [TEXT.lower()] * rows, n=1, num_thread=1)


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@pytest.mark.parametrize(
    ("peer", "misspell", "rows"),
    [("fasttextaug", fasttextaug_misspell, 100_000), ("nlpaug", nlpaug_misspell, 5_000)],
    ids=["fasttextaug", "nlpaug"],
)
def test_against_peers(peer, misspell, rows, duel):
    """They substitute up to ten characters of each text and do not tokenise; `optimised` does all of the task."""
    duel(misspell(rows), partial(build, "optimised", rows), floor=PEER_FLOORS[peer], check=partial(assert_rows, rows))


def assert_rows(rows, texts, dataset):
    assert len(texts) == len(dataset) == rows, f"{len(texts)} texts and {len(dataset)} rows, {rows} were asked for"


@pytest.mark.parametrize(
    "variant", [pytest.param(name, marks=[STARTING_PROCESSES] if name.endswith("_pool") else []) for name in VARIANTS]
)
def test_revision(variant, against):
    config = Config(dataset_size=REVISION_ROWS.get(variant, FEW_ROWS))

    def work(build):
        build(TEXT, Config(dataset_size=1))  # compiled, or loaded from the cache: see test_compile
        return partial(build, TEXT, config)

    against(
        "impl.augmentation", variant, work, check=assert_equal if variant in BYTE_FOR_BYTE else assert_equal_or_alike
    )


@pytest.mark.parametrize("variant", CEILINGS)
def test_memory(variant, peak_memory, ceiling):
    used = [peak_memory(build, name, MEMORY_ROWS, prepare=partial(build, name, 1)) for name in ("baseline", variant)]
    ceiling(*used, CEILINGS[variant])


@pytest.mark.parametrize("cached", [False, True], ids=["cold", "cached"])
@pytest.mark.parametrize("variant", ["exact", "optimised"])
def test_compile(variant, cached, benchmark, tmp_path):
    """What the ratios leave out: the first row of a process, compiled by Numba or loaded from its cache."""
    benchmark.group = "augmentation first row of a process"
    script = f"from impl.augmentation import VARIANTS, Config; VARIANTS[{variant!r}]('text', Config(dataset_size=1))"
    run = partial(
        subprocess.run, [sys.executable, "-c", script], check=True, env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    )
    if cached:
        run()
    benchmark.pedantic(run, rounds=1)
    assert list(tmp_path.rglob("*.nbi")), "nothing was compiled into the cache"
