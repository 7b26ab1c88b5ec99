"""Every variant has the baseline's distribution, and these tests detect a variant that does not.

Family-wise error 1e-3 by Bonferroni over every case, statistic and variant; seeds are fixed.
"""

import functools
import random
import string

import numpy as np
import pytest

from impl.augmentation import VARIANTS, Config, Tokenizer, baseline, batches, numpy_vectorised
from impl.augmentation.rows import Rows
from impl.augmentation.vocabulary import clean
from tests.augmentation.distribution import STATISTICS, Sample, differences

TEXT = "01:ccInterview-02:ccInterview-03:ccInterview-04:ccInterview"
WORDS = "The quick brown fox, jumps over the lazy dog (twice)!"

# Each case: text, max_modifications, max_letter_count.
CASES = {
    "one word": (TEXT, 10, 64),
    # The budget never stops the edits here, so the number of edits shows the probability of a change.
    "no limit": (TEXT, 200, 64),
    "many words": (WORDS, 5, 64),
    "four words": ("ab cd ef gh", 3, 16),
    "repeated words": ("go go go stop go", 4, 20),
    "one change": ("ab cd ef", 0, 12),
    "one character": ("a", 3, 4),
    "two characters": ("ab", 4, 4),
    "empty": ("", 10, 8),
    "eszett": ("Straße & ẞtadt", 3, 24),
    "longer than the row": (WORDS, 10, 24),
    "much longer than the row": (f"{TEXT} {WORDS}", 10, 32),
}
REFERENCE_ROWS = 40_000
FAST_ROWS = 200_000
# The pools run the baseline's own edits and are as slow, so they get fewer rows and cases. What is tested here is how
# they seed and join batches.
POOLS = ("process_pool", "multiprocessing_pool")
POOL_ROWS = 40_000
POOL_CASES = ("one word", "four words", "two characters", "empty", "eszett")

CANDIDATES = [name for name in VARIANTS if name not in {"baseline", "exact"}]
PAIRS = [(name, case) for name in CANDIDATES for case in (POOL_CASES if name in POOLS else CASES)]
ALPHA = 1e-3 / (len(PAIRS) * len(STATISTICS))


def sample_baseline(case, rows, seed, max_modifications=None):
    """Sample the baseline, but accept a text that the edits have emptied; the baseline itself raises an error there."""
    text, budget, letters = CASES[case]
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - misspell draws from NumPy's global legacy generator
    budget = budget if max_modifications is None else max_modifications
    texts = [batches.misspell_or_empty(clean(text), budget) for _ in range(rows)]
    labels = np.array([random.randint(0, 1) for _ in range(rows)], dtype=np.uint8)
    return Sample(Tokenizer(letters).encode_batch(texts), labels)


@functools.cache
def reference(case):
    return sample_baseline(case, REFERENCE_ROWS, seed=1)


def build(variant, case, rows, seed, max_modifications=None):
    text, budget, letters = CASES[case]
    budget = budget if max_modifications is None else max_modifications
    config = Config(rows, max_modifications=budget, max_letter_count=letters, workers=2)
    dataset = VARIANTS[variant](text, config, seed).to_host()
    return Sample(np.asarray(dataset.tokens), np.asarray(dataset.labels))


@pytest.mark.parametrize(("variant", "case"), PAIRS)
def test_same_distribution(variant, case):
    candidate = build(variant, case, POOL_ROWS if variant in POOLS else FAST_ROWS, seed=2)
    significant = {name: p for name, p in differences(CASES[case][0], reference(case), candidate).items() if p < ALPHA}
    assert not significant, f"{variant} differs from the baseline on {case!r} (alpha {ALPHA:.1e}): {significant}"


@pytest.mark.parametrize("case", CASES)
def test_the_baseline_agrees_with_itself(case):
    """Two halves of one sample do not differ: no p-value is smaller than chance explains over so many tests."""
    sample, half = reference(case), REFERENCE_ROWS // 2
    halves = [Sample(sample.tokens[part], sample.labels[part]) for part in (slice(half), slice(half, None))]
    assert min(differences(CASES[case][0], *halves).values()) > 1e-3 / (len(CASES) * len(STATISTICS))


# Each fault, and the cases in which it must be detected.
FAULTS = {
    "budget exclusive": ("one word", "many words", "four words", "longer than the row"),
    "p = 0.19": ("one word", "no limit"),
    "letter missing": ("one word", "eszett", "two characters"),
    "capital missing": ("one word", "many words", "two characters"),
    "shuffle not counted": ("four words",),
    "labels biased": ("empty",),
}
MISSING = {"letter missing": "k", "capital missing": "K"}
DETECTED_IN = [(fault, case) for fault, cases in FAULTS.items() for case in cases]


def budget_of(fault, case):
    """An exclusive budget equals an inclusive budget of one less, in every variant."""
    return CASES[case][1] - (fault == "budget exclusive")


def break_baseline(fault, case, monkeypatch):
    if fault == "p = 0.19":
        monkeypatch.setattr(baseline, "CHANGE_PROBABILITY", 0.19)
    if fault in MISSING:
        monkeypatch.setattr(baseline, "LETTERS", baseline.LETTERS.replace(MISSING[fault], ""))
    if fault == "shuffle not counted":
        shuffle = baseline.shuffle_words
        monkeypatch.setattr(baseline, "shuffle_words", lambda text, used, most: (shuffle(text, used, most)[0], used))
    return sample_baseline(case, REFERENCE_ROWS, seed=2, max_modifications=budget_of(fault, case))


def break_numpy(fault, case, monkeypatch):
    if fault in MISSING:
        letters = numpy_vectorised.LETTERS
        monkeypatch.setattr(numpy_vectorised, "LETTERS", letters[letters != Tokenizer(2).vocab[MISSING[fault]]])
    return build("numpy_vectorised", case, FAST_ROWS, seed=2, max_modifications=budget_of(fault, case))


def break_optimised(fault, case, _monkeypatch):
    text, _, letters = CASES[case]
    alphabet = string.ascii_letters.replace(MISSING.get(fault, "-"), "")
    chance = 0.19 if fault == "p = 0.19" else 0.2
    rows = Rows(text, budget_of(fault, case), letters, seed=2, probability=chance, letters=alphabet)
    return Sample(*rows.compute(0, FAST_ROWS))


# How each variant is made wrong on purpose, and the faults that cannot be injected into it: NumPy's probability is a
# count of equally likely outcomes, not a parameter. A new variant needs one line here and a function like those above.
BREAKERS = {
    "baseline": (break_baseline, set()),
    "numpy_vectorised": (break_numpy, {"p = 0.19", "shuffle not counted"}),
    "optimised": (break_optimised, {"shuffle not counted"}),
}
BROKEN = [(name, *pair) for name, (_, cannot) in BREAKERS.items() for pair in DETECTED_IN if pair[0] not in cannot]


@pytest.mark.parametrize(("variant", "fault", "case"), BROKEN)
def test_a_fault_is_detected(variant, fault, case, monkeypatch):
    make, _ = BREAKERS[variant]
    wrong = make(fault, case, monkeypatch)
    if fault == "labels biased":
        wrong.labels[::10] = 1
    smallest = min(differences(CASES[case][0], reference(case), wrong).values())
    assert smallest < ALPHA, f"{variant} with {fault} passes on {case!r}"
