"""The claims of the augmentation case.

`exact` returns the baseline's rows byte for byte, `optimised` rows of the same distribution. Both are faster by the
ratios below and use a fraction of the baseline's memory. `optimised` takes a small multiple of the time that writing
its result takes, and its loader serves an epoch faster by the ratio below. The pools claim no speed: they are here
because they are the usual first attempts.
"""

import itertools
import os
import random
import subprocess
import sys
from functools import cache, partial

import numpy as np
import pytest

from benchmarks.checks.rows import assert_same_bytes, assert_same_distribution, on_host
from benchmarks.peers import fasttextaug_characters, nlpaug_characters
from benchmarks.peers.ways import fastest
from benchmarks.quick import quick_or_full
from impl.augmentation import VARIANTS, Config, Tokenizer, create_dataloader
from impl.augmentation.dataset import Dataset
from impl.augmentation.loader import EndlessLoader
from impl.variant import SAME_BYTES, SAME_DISTRIBUTION, best_of

BASELINE = next(iter(VARIANTS))
BEST = best_of(VARIANTS)

TEXT = "01:ccInterview-02:ccInterview-03:ccInterview-04:ccInterview"
WORDS = "The quick brown fox, jumps over the lazy dog (twice)!"

# Rows, and how often each is timed. No optimisation should win at one row: `optimised` computes 64 and discards 63, and
# the pools start processes for it. 1,200,000 is the size of the task.
SIZES = {1: 5, 20_000: 3, 1_200_000: 1}
QUICK_SIZES = (1, 20_000)

# Ratios to the baseline, each a duel at ROWS rows. A proof takes some 20 pairs, and the baseline 0.5 s for 20,000 rows.
# The worst and the best of several runs, some of them beside other programs:
#
#   machine                              Python   date         numpy_vectorised   exact      optimised
#   AMD EPYC Turin (Zen 5), 2 cores      3.11     2026-11-23   11.8 to 12.6       39 to 42   260 to 520
#   the same, 1,200,000 rows                                   15 to 16           49 to 53   933 to 1,520
#   Intel Xeon (with AMX), 2 cores       3.11     2026-11-26   8.3 to 10.4        36 to 45   106 to 377
#   the same                                      2026-11-27   11.9               59         591
#
# The floor of `optimised` was 120 before the last of these machines.
FLOORS = dict(numpy_vectorised=6, exact=20, optimised=70)
ROWS = dict(optimised=50_000)
ROWS_BY_DEFAULT = 20_000
# In the quick run the same floors hold. Two runs observed 10.6 and 10.6, 48 and 49, 273 and 267, and 102 and 86, 24 and
# 27 for the epochs (Intel Xeon with AMX, 2 cores, 2026-11-27 and 28, a noisy host). With workers these were of 10,000
# rows; of 5,000, 66 was observed.
QUICK_ROWS = 5_000

# Peak memory divided by the baseline's, in fresh processes, at 200,000 rows. The others are recorded and not judged.
#
#   machine                              Python   date         numpy_vectorised   exact      optimised
#   AMD EPYC Turin (Zen 5), 2 cores      3.11     2026-11-23   0.10, 0.11         0.08       0.08
CEILINGS = dict(numpy_vectorised=0.35, exact=0.15, optimised=0.15)
MEMORY_ROWS = 200_000

# The best variant takes at most FILLS times as long as filling an array of the result's size that is already in memory
# (the aim is 20; observed: 11 to 12, and 20 beside a noisy neighbour). One epoch of its loader against the baseline's
# at 30,000 rows (observed: 40, and 82 to 172), and without workers at 100,000 (14 to 25). The best variant against
# other libraries (fasttextaug 37 to 71, nlpaug 507 to 613). Machine and date as in the first line above; in the last
# line's, nlpaug 64 to 179, where its floor was 150 before.
FILLS = 40
LOADER_FLOOR = 15
WORKERLESS_FLOOR = 5
PEERS = {"fasttextaug": fasttextaug_characters.ways, "nlpaug": nlpaug_characters.ways}
PEER_FLOORS = {"fasttextaug": 12, "nlpaug": 40}
PEER_ROWS = {"fasttextaug": 100_000, "nlpaug": 5_000}

# A state after each batch takes at most 1 % of the time of reading the batches, of STATE_ROWS rows each. The aim is 1 %
# at the default of 32 rows as well, which is missed: see the table.
#
#   machine                              Python   date         ratio        a state, a batch of 32 rows
#   Intel Xeon (with AMX), 2 cores       3.11     2026-11-27   461 to 568   0.5 and 27 us, beside other work
STATES_FLOOR = 100
STATE_ROWS = 1_024

# Rows against another revision: some milliseconds each, except for the pools. Starting their processes takes most of
# the time, and varies by more than the few per cent that are detectable elsewhere: so their tolerance is 10 %. On a
# noisy machine the 20 pairs of 30 s ruled out 45 % and nothing less (AMD EPYC (Zen 3), 2026-11-25): so their blind
# limit is 100 %.
REVISION_ROWS = dict(numpy_vectorised=5_000, exact=20_000, optimised=100_000)
REVISION_ROWS_BY_DEFAULT = 500
TOLERANCES = dict(process_pool=10, multiprocessing_pool=10)
POOLS_BLIND = 100
# The same at the size of the task; of `exact`, which needs 20 times as long, as many as leave time for 40 pairs.
FULL_SIZE_ROWS = dict(exact=200_000, optimised=1_200_000)

# Seconds until the first row of a process: compiled by Numba, and loaded from its cache. Recorded and not judged; these
# were observed on the machine above with the saved run 0004.
FIRST_ROWS = dict(exact=(4.2, 0.7), optimised=(5.8, 0.8))


def build(variant, rows, text=TEXT):
    return VARIANTS[variant](text, Config(dataset_size=rows))


CHECKS = {SAME_BYTES.kind: assert_same_bytes, SAME_DISTRIBUTION.kind: assert_same_distribution}


def check_of(variant):
    """The check that holds a variant to its promise: `check(baseline's dataset, its own)`."""
    return CHECKS[VARIANTS[variant].promise.kind]


def matches():
    """Every variant, number of rows and text; in the quick run the pools, which are slow to start, have one text."""
    texts = {"one word": TEXT, "words": WORDS, "eszett": "straße & ẞ", "empty": ""}
    for variant, rows, name in itertools.product(list(VARIANTS)[1:], (0, 1, 63, 5_001), texts):
        marks = [pytest.mark.full] if variant in TOLERANCES and texts[name] != TEXT else []
        yield pytest.param(variant, rows, texts[name], id=f"{variant}-{rows}-{name}", marks=marks)


@pytest.mark.parametrize(("variant", "rows", "text"), list(matches()))
def test_matches(variant, rows, text):
    expected, draws = build(BASELINE, rows, text), next_draws()
    check_of(variant)(expected, build(variant, rows, text))
    if VARIANTS[variant].promise == SAME_BYTES:
        assert next_draws() == draws, "the global generators are in another state than the baseline leaves them in"


def next_draws():
    """What Python's and NumPy's global generators return next."""
    return random.random(), np.random.random()  # noqa: NPY002 - the legacy generator is part of the promise


@pytest.mark.parametrize("rows", quick_or_full(SIZES, QUICK_SIZES))
@pytest.mark.parametrize("variant", VARIANTS)
def test_time(variant, rows, benchmark):
    benchmark.group = f"augmentation {rows:,} rows"
    build(variant, 1)  # compiled, or loaded from the cache: see test_compile
    rounds = 1 if variant == BASELINE or variant in TOLERANCES else SIZES[rows]  # a call of those takes seconds
    dataset = benchmark.pedantic(build, (variant, rows), rounds=rounds).to_host()
    assert dataset.tokens.shape == (rows, 64)
    assert set(np.unique(dataset.labels)) <= {0, 1}
    texts = {Tokenizer(64).decode(row) for row in dataset.tokens[:100]}
    assert len(texts) > 50 or rows == 1, f"only {len(texts)} of 100 rows differ"


@pytest.mark.full
@pytest.mark.parametrize("variant", FLOORS)
def test_speedup(variant, duel):
    race(duel, variant, ROWS.get(variant, ROWS_BY_DEFAULT))


@pytest.mark.parametrize("variant", FLOORS)
def test_speedup_quick(variant, duel):
    race(duel, variant, QUICK_ROWS)


def race(duel, variant, rows):
    duel(partial(build, BASELINE, rows), partial(build, variant, rows), floor=FLOORS[variant], check=check_of(variant))


def test_against_filling_memory(duel):
    """The distance from the limit: nothing can be faster than writing the result."""
    rows = max(SIZES)
    memory = np.ones((rows, 64), np.uint8)
    duel(partial(memory.fill, 1), partial(build, BEST, rows), floor=1 / FILLS)


@pytest.mark.full
def test_epoch_of_the_loader(duel):
    """Against the baseline's loader with its default number of workers."""
    duel(*epochs(30_000, Config().workers), floor=LOADER_FLOOR, check=assert_same_batches)


@pytest.mark.full
def test_epoch_without_workers(duel):
    """Against the baseline's loader at its fastest here: its workers cost more than they gain."""
    duel(*epochs(100_000, 0), floor=WORKERLESS_FLOOR, check=assert_same_batches)


@pytest.mark.parametrize(
    ("rows", "workers", "floor"),
    [(5_000, Config().workers, LOADER_FLOOR), (30_000, 0, WORKERLESS_FLOOR)],
    ids=["workers", "no workers"],
)
def test_epoch_quick(rows, workers, floor, duel):
    duel(*epochs(rows, workers), floor=floor, check=assert_same_batches)


def epochs(rows, workers):
    """One epoch of each loader. Both serve the same rows, so that every batch can be compared."""
    config = Config(dataset_size=rows)
    dataset, streamed, _ = create_dataloader(TEXT, config)
    stored = EndlessLoader(Dataset(dataset.tokens, dataset.labels), config.batch_size, workers)
    return partial(epoch, stored), partial(epoch, streamed)


def epoch(loader):
    """Read one epoch with nothing prefetched. Workers that an earlier epoch started are kept."""
    return list(itertools.islice(loader, loader.batches_per_epoch))


def assert_same_batches(expected, batches):
    assert len(expected) == len(batches), f"{len(batches)} batches and not {len(expected)}"
    for number, (wanted, got) in enumerate(zip(expected, batches, strict=True)):
        for part in (0, 1):
            assert (wanted[part] == got[part]).all(), f"batch {number} differs"


@pytest.mark.full
def test_time_of_the_state(duel):
    """Reading batches against asking for the state as often.

    Nothing is counted for a batch, so this is all that resuming costs. A duel of loops with and without the state would
    have to prove a ratio of nearly 1.
    """
    _, loader, _ = create_dataloader(TEXT, Config(dataset_size=50 * STATE_ROWS, batch_size=STATE_ROWS))
    epoch(loader)  # so that the first states, too, are those behind an epoch
    duel(partial(epoch, loader), partial(states_of, loader), floor=STATES_FLOOR, check=assert_states)


def states_of(loader):
    return [loader.state_dict() for _ in range(loader.batches_per_epoch)]


def assert_states(batches, states):
    assert len(states) == len(batches), f"{len(states)} states for {len(batches)} batches"
    assert states[-1]["batch"] == len(batches), f"batch {states[-1]['batch']} after an epoch of {len(batches)}"


@pytest.mark.full
@pytest.mark.parametrize("peer", PEERS)
def test_against_peers(peer, duel):
    """They only substitute characters; the best variant does the whole task."""
    rows = PEER_ROWS[peer]
    _, misspell = fastest(PEERS[peer](TEXT.lower(), rows))
    duel(misspell, partial(build, BEST, rows), floor=PEER_FLOORS[peer], check=partial(assert_rows, rows))


def assert_rows(rows, texts, dataset):
    assert len(texts) == len(dataset) == rows, f"{len(texts)} texts and {len(dataset)} rows instead of {rows}"


@pytest.mark.parametrize("variant", quick_or_full(VARIANTS, CEILINGS))
def test_memory(variant, peak_memory, ceiling):
    VARIANTS[variant].require()
    peaks = [peak_memory(build, name, MEMORY_ROWS, prepare=partial(build, name, 1)) for name in (BASELINE, variant)]
    ceiling(*peaks, CEILINGS.get(variant))


def build_many_times(augment, rows):
    """Enough calls for 1 MiB that each of them keeps to count."""
    for _ in range(20):
        augment(TEXT, Config(dataset_size=rows))


START = """
from impl.augmentation import VARIANTS, Config
print(VARIANTS["{variant}"]("{text}", Config(dataset_size=1_000)).tokens.shape)
"""


@pytest.mark.parametrize("variant", [BEST])
def test_revision_start(variant, against_start):
    against_start("impl.augmentation", variant, START.format(variant=variant, text=TEXT))


@pytest.mark.parametrize("variant", [BEST])
def test_revision_memory(variant, against_memory):
    against_memory("impl.augmentation", variant, lambda augment: (build_many_times, augment, MEMORY_ROWS))


def marks_of(variant):
    """What the gate has to know: how much a pool varies, and that CPU time says nothing of a GPU."""
    if variant in TOLERANCES:
        return [pytest.mark.gate(tolerance=TOLERANCES[variant], blind=POOLS_BLIND)]
    return [] if VARIANTS[variant].device == "cpu" else [pytest.mark.gate(clock="wall")]


@pytest.mark.parametrize("variant", [pytest.param(name, marks=marks_of(name)) for name in VARIANTS])
def test_revision(variant, against):
    compare_revisions(against, variant, REVISION_ROWS.get(variant, REVISION_ROWS_BY_DEFAULT))


@pytest.mark.parametrize("variant", FULL_SIZE_ROWS)
def test_revision_full_size(variant, against):
    compare_revisions(against, variant, FULL_SIZE_ROWS[variant])


def compare_revisions(against, variant, rows):
    def work(build):
        build(TEXT, Config(dataset_size=1))  # compiled, or loaded from the cache: see test_compile
        return partial(build, TEXT, Config(dataset_size=rows))

    against("impl.augmentation", variant, work, check=check_between_revisions(variant))


def check_between_revisions(variant):
    """Two revisions return the same rows; where one draws in another order, rows of the same distribution."""
    if VARIANTS[variant].promise == SAME_BYTES:
        return assert_same_bytes

    def check(expected, dataset):
        expected, dataset = on_host(expected), on_host(dataset)
        same = np.array_equal(expected.tokens, dataset.tokens) and np.array_equal(expected.labels, dataset.labels)
        if not same:
            assert_same_distribution(expected, dataset)

    return check


def epoch_of(variant, rows):
    """Build work for a duel of revisions: one epoch of the loader over a variant's rows, served by this process."""
    config = Config(dataset_size=rows, workers=0)
    return lambda create: partial(epoch, create(TEXT, config, variant=variant)[1])


def check_epochs(variant):
    """Two revisions serve the same rows, as above, in batches of the same shapes and types."""

    def check(expected, batches):
        assert [(part.shape, part.dtype) for batch in expected for part in batch] == [
            (part.shape, part.dtype) for batch in batches for part in batch
        ]
        check_between_revisions(variant)(stored(expected), stored(batches))

    return check


def stored(batches):
    tokens, labels = (
        np.concatenate([part.numpy() for part in parts]).astype(np.uint8) for parts in zip(*batches, strict=True)
    )
    return Dataset(tokens, labels[:, 0])


def tokenizing(method, arguments):
    """Build work: a method of the tokenizer, called with each of these arguments."""

    def work(tokenizer):
        call = getattr(tokenizer(64), method)
        return lambda: [call(argument) for argument in arguments()]

    return work


@cache
def some_rows():
    return build(BEST, 1_000).tokens


@cache
def some_texts():
    return [Tokenizer(64).decode(row) for row in some_rows()]


def assert_equal(expected, result):
    assert np.array_equal(expected, result)


# What users call beside the variants: an attribute of the package, the work, and the check of two revisions' results.
ENTRIES = {
    "epoch": ("create_dataloader", epoch_of(BEST, 100_000), check_epochs(BEST)),
    "stored_epoch": ("create_dataloader", epoch_of(BASELINE, 5_000), check_epochs(BASELINE)),
    "encode": ("Tokenizer", tokenizing("encode", some_texts), assert_equal),
    "encode_batch": ("Tokenizer", tokenizing("encode_batch", lambda: [some_texts()] * 10), assert_equal),
    "decode": ("Tokenizer", tokenizing("decode", some_rows), assert_equal),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_revision_entry(entry, against):
    attribute, work, check = ENTRIES[entry]
    against("impl.augmentation", attribute, work, check=check)


@pytest.mark.full
@pytest.mark.parametrize("cached", [False, True], ids=["cold", "cached"])
@pytest.mark.parametrize("variant", FIRST_ROWS)
def test_compile(variant, cached, benchmark, tmp_path):
    """The cost outside the ratios: the first row of a process, compiled by Numba or loaded from its cache."""
    benchmark.group = "augmentation first row of a process"
    script = f"from impl.augmentation import VARIANTS, Config; VARIANTS[{variant!r}]('text', Config(dataset_size=1))"
    run = partial(
        subprocess.run, [sys.executable, "-c", script], check=True, env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    )
    if cached:
        run()
    benchmark.pedantic(run, rounds=1)
    assert list(tmp_path.rglob("*.nbi")), "nothing was compiled into the cache"
