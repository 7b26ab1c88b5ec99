"""Every check of the benchmark module, seen red: what is wrong turns its test red and is named with its size."""

import numpy as np
import pytest

from benchmarks import test_augmentation as case
from impl.augmentation import VARIANTS, Config
from impl.augmentation.rows import Rows

SUITE = """
from benchmarks import test_augmentation as case
case.{change}
from benchmarks.test_augmentation import {test}
"""


def spoiled(spoil):
    def build(text, config, seed=7):
        dataset = VARIANTS["exact"](text, config, seed)
        if len(dataset) > 17:
            spoil(dataset)
        return dataset

    return build


def one_token(dataset):
    dataset.tokens[17, 3] += 1


def one_label(dataset):
    dataset.labels[5] ^= 1


def one_row_less(dataset):
    dataset.tokens = dataset.tokens[:-1]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (one_token, r"1 of 320064 tokens differ from the baseline's; the first at \[17, 3\]: \d+ instead of \d+"),
        (one_label, r"1 of 5001 labels differ from the baseline's; the first at \[5\]: [01] instead of [01]"),
        (one_row_less, r"tokens have shape \(5000, 64\) and not \(5001, 64\)"),
    ],
)
def test_a_wrong_row(spoil, says, monkeypatch):
    wrong = spoiled(spoil)
    monkeypatch.setattr(case, "VARIANTS", {**VARIANTS, "exact": wrong})
    with pytest.raises(AssertionError, match=says):
        case.test_matches("exact", 5_001, case.TEXT)


def test_generators_left_elsewhere(monkeypatch):
    def draws_once_more(text, config, seed=7):
        dataset = VARIANTS["exact"](text, config, seed)
        np.random.random()  # noqa: NPY002 - the generator this is about
        return dataset

    monkeypatch.setattr(case, "VARIANTS", {**VARIANTS, "exact": draws_once_more})
    with pytest.raises(AssertionError):
        case.test_matches("exact", 63, case.TEXT)


@pytest.mark.parametrize(
    ("budget", "probability", "labels", "says"),
    [
        (8, 0.2, 0, "length of a row: .* standard errors away"),
        (10, 0.1, 0, "unchanged rows|length of a row"),
        (10, 0.2, 1000, r"labels: 0\.5\d+ on average, the baseline's 0\.\d+, which is .* standard errors away"),
    ],
)
def test_a_wrong_distribution(budget, probability, labels, says):
    config = Config(dataset_size=20_000)
    expected = VARIANTS["exact"](case.TEXT, config)
    right = VARIANTS["optimised"](case.TEXT, config)
    case.assert_alike(expected, right)
    right.tokens, right.labels = Rows(case.TEXT, budget, 64, 7, probability=probability).compute(0, 20_000)
    right.labels[np.flatnonzero(right.labels == 0)[:labels]] = 1
    with pytest.raises(AssertionError, match=says):
        case.assert_alike(expected, right)


def test_wrong_batches():
    batches = [[np.zeros((2, 4)), np.zeros((2, 1))] for _ in range(3)]
    with pytest.raises(AssertionError, match="2 batches and not 3"):
        case.assert_same_batches(batches, batches[:2])
    spoiled_batches = [*batches[:2], [np.ones((2, 4)), np.zeros((2, 1))]]
    with pytest.raises(AssertionError, match="batch 2 differs"):
        case.assert_same_batches(batches, spoiled_batches)


@pytest.mark.parametrize(
    ("test", "change", "says"),
    [
        ("test_speedup", "ROWS['exact'], case.FLOORS['exact'] = 300, 100_000", "*times faster*floor is 100,000*"),
        (
            "test_memory",
            "MEMORY_ROWS, case.CEILINGS['exact'] = 40_000, 0.001",
            "*peak memory of the candidate*0.001 t*",
        ),
    ],
)
def test_a_claim_beyond_the_truth(test, change, says, pytester, monkeypatch, request):
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))
    pytester.makepyfile(test_augmentation=SUITE.format(test=test, change=change))
    result = pytester.runpytest_subprocess("-p", "benchmarks.gate.plugin", "-k", "exact")
    result.assert_outcomes(failed=1, deselected=2)
    result.stdout.fnmatch_lines([says])
