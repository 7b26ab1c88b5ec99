"""Every check of the benchmark module fails for a wrong result, and reports the fault and its size."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import test_augmentation as case
from impl.augmentation import VARIANTS, Config
from impl.augmentation.rows import Rows
from impl.variant import SAME_BYTES

SUITE = """
from benchmarks import test_augmentation as case
case.{change}
from benchmarks.test_augmentation import {test}
"""


def corrupted(corrupt):
    """A variant that promises the same bytes; its datasets are changed by `corrupt`."""

    def build(text, config, seed=7):
        dataset = VARIANTS["exact"](text, config, seed)
        if len(dataset) > 17:
            corrupt(dataset)
        return dataset

    return replace(VARIANTS["exact"], build=build)


def one_token(dataset):
    dataset.tokens[17, 3] += 1


def one_label(dataset):
    dataset.labels[5] ^= 1


def one_row_missing(dataset):
    dataset.tokens = dataset.tokens[:-1]


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (one_token, r"1 of 320064 tokens differ from the baseline's; the first at \[17, 3\]: \d+ instead of \d+"),
        (one_label, r"1 of 5001 labels differ from the baseline's; the first at \[5\]: [01] instead of [01]"),
        (one_row_missing, r"tokens have shape \(5000, 64\) and not \(5001, 64\)"),
    ],
)
def test_a_wrong_row(corrupt, message, monkeypatch):
    monkeypatch.setattr(case, "VARIANTS", {**VARIANTS, "wrong": corrupted(corrupt)})
    with pytest.raises(AssertionError, match=message):
        case.test_matches("wrong", 5_001, case.TEXT)


@pytest.mark.parametrize("name", [name for name in VARIANTS if VARIANTS[name].promise != SAME_BYTES])
def test_a_variant_that_promises_the_same_bytes_and_returns_different_ones(name, monkeypatch):
    wrong = replace(VARIANTS[name], promise=SAME_BYTES)
    monkeypatch.setattr(case, "VARIANTS", {**VARIANTS, "wrong": wrong})
    with pytest.raises(AssertionError, match=r"\d+ of 4032 tokens differ from the baseline's"):
        case.test_matches("wrong", 63, case.TEXT)


def test_global_generators_in_a_different_state(monkeypatch):
    def draws_one_extra_number(text, config, seed=7):
        dataset = VARIANTS["exact"](text, config, seed)
        np.random.random()  # noqa: NPY002 - the generator under test
        return dataset

    wrong = replace(VARIANTS["exact"], build=draws_one_extra_number)
    monkeypatch.setattr(case, "VARIANTS", {**VARIANTS, "wrong": wrong})
    with pytest.raises(AssertionError, match="the global generators are in another state"):
        case.test_matches("wrong", 63, case.TEXT)


@pytest.mark.parametrize(
    ("budget", "probability", "labels", "message"),
    [
        (8, 0.2, 0, "length of a row: .* standard errors away"),
        (10, 0.1, 0, "unchanged rows|length of a row"),
        (10, 0.2, 1000, r"labels: 0\.5\d+ on average, the baseline's 0\.\d+, which is .* standard errors away"),
    ],
)
def test_a_wrong_distribution(budget, probability, labels, message):
    config = Config(dataset_size=20_000)
    expected = VARIANTS["exact"](case.TEXT, config)
    dataset = VARIANTS[case.BEST](case.TEXT, config)
    case.assert_same_distribution(expected, dataset)
    dataset.tokens, dataset.labels = Rows(case.TEXT, budget, 64, 7, probability=probability).compute(0, 20_000)
    dataset.labels[np.flatnonzero(dataset.labels == 0)[:labels]] = 1
    with pytest.raises(AssertionError, match=message):
        case.assert_same_distribution(expected, dataset)


def test_wrong_batches():
    batches = [[np.zeros((2, 4)), np.zeros((2, 1))] for _ in range(3)]
    with pytest.raises(AssertionError, match="2 batches and not 3"):
        case.assert_same_batches(batches, batches[:2])
    wrong = [*batches[:2], [np.ones((2, 4)), np.zeros((2, 1))]]
    with pytest.raises(AssertionError, match="batch 2 differs"):
        case.assert_same_batches(batches, wrong)


@pytest.mark.serial
@pytest.mark.parametrize(
    ("test", "change", "message"),
    [
        ("test_speedup", "ROWS['exact'], case.FLOORS['exact'] = 300, 100_000", "*times faster*floor is 100,000*"),
        (
            "test_memory",
            "MEMORY_ROWS, case.CEILINGS['exact'] = 40_000, 0.001",
            "*peak memory of the candidate*0.001 t*",
        ),
    ],
)
def test_a_claim_that_does_not_hold(test, change, message, pytester, monkeypatch, request):
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))
    pytester.makepyfile(test_augmentation=SUITE.format(test=test, change=change))
    result = pytester.runpytest_subprocess("-p", "benchmarks.gate.plugin", "--full", "-k", "exact")
    result.assert_outcomes(failed=1, deselected=len(case.FLOORS if test == "test_speedup" else VARIANTS) - 1)
    result.stdout.fnmatch_lines([message])


def test_a_dataset_of_an_older_revision_is_compared():
    """It has no `to_host`, because there were no other places."""
    dataset = VARIANTS["exact"]("some words", Config(dataset_size=20))
    older = SimpleNamespace(tokens=dataset.tokens.copy(), labels=dataset.labels.copy())
    check = case.check_between_revisions("exact")
    check(older, dataset)
    one_token(older)
    with pytest.raises(AssertionError, match=r"1 of .* tokens differ"):
        check(older, dataset)
