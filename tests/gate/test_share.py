"""How often something holds: what is proven, with which error, and how a test says so."""

import itertools
import random

import numpy as np
import pytest

from benchmarks.gate.measure.share import prove_share
from benchmarks.gate.report.words import share_failure


def draws(probability, seed):
    generator = random.Random(seed)
    while True:
        yield generator.random() < probability


@pytest.mark.parametrize(
    ("probability", "verdict"), [(1.0, "above"), (0.999, "above"), (0.96, "below"), (0.0, "below")]
)
def test_what_is_clear_is_proven(probability, verdict):
    found = [prove_share(draws(probability, seed), least=0.99, alpha=1e-3, budget=60.0) for seed in range(5)]
    assert {share.verdict for share in found} == {verdict}
    assert all(share.value == share.successes / share.trials for share in found)


def test_all_true_is_not_enough_until_chance_is_ruled_out():
    few = prove_share([True] * 800, least=0.99, alpha=1e-3, budget=60.0)
    assert (few.verdict, few.trials) == ("open", 800)
    many = prove_share([True] * 2000, least=0.99, alpha=1e-3, budget=60.0)
    assert many.verdict == "above"
    assert 0.99**many.trials < 1e-3 / 2, "a share of 99 % would have given this too often"


def test_at_the_limit_neither_is_proven_more_often_than_alpha():
    """400 proofs of what is not so: at an error of 5 % not more than 36 of them, which has a probability of 0.1 %."""
    proofs = [
        prove_share(itertools.islice(draws(0.9, seed), 400), least=0.9, alpha=0.05, budget=60.0) for seed in range(400)
    ]
    assert sum(share.verdict != "open" for share in proofs) <= 36


def test_an_outcome_may_be_a_share():
    """Shares that are 0.9 on average, at an error of 5 %; and shares that are clearly more, or less."""
    rng = np.random.default_rng(7)
    proofs = [prove_share(rng.beta(0.9, 0.1, 300), least=0.9, alpha=0.05, budget=60.0) for _ in range(400)]
    assert sum(share.verdict != "open" for share in proofs) <= 36
    assert prove_share(itertools.repeat(0.995), least=0.9, alpha=1e-3, budget=60.0).verdict == "above"
    below = prove_share(itertools.repeat(0.5), least=0.9, alpha=1e-3, budget=60.0)
    assert below.verdict == "below"
    assert f"true {below.trials / 2:g} times of {below.trials}, which proves" in share_failure("toy", below, 1e-3)


@pytest.mark.parametrize("outcome", [-0.01, 1.01, float("nan"), float("inf")])
def test_what_is_no_share_is_refused(outcome):
    with pytest.raises(ValueError, match="an outcome is true, false or a share, not"):
        prove_share([True, outcome], least=0.5, alpha=1e-3, budget=60.0)


def test_time_and_outcomes_end():
    assert prove_share(itertools.repeat(True), least=0.99, alpha=1e-3, budget=0.0).trials == 1
    nothing = prove_share([], least=0.99, alpha=1e-3, budget=60.0)
    assert (nothing.trials, nothing.verdict) == (0, "open")
    assert "true 0 times of 0, which neither proves nor disproves 99.00%" in share_failure("toy", nothing, 1e-3)


OFTEN = """
import itertools
import pytest

@pytest.mark.measures
def test_often(share):
    found = share({outcomes}, least=0.9)
    {then}
"""


def run(pytester, suite, outcomes, *options, then="assert found.trials"):
    suite(more=OFTEN.format(outcomes=outcomes, then=then))
    result = pytester.runpytest_inprocess("-k", "often", *options)
    return result.ret, result.stdout.str()


@pytest.mark.parametrize(
    ("outcomes", "status", "message"),
    [
        ("[True] * 500", 0, "test_often: held 100.00%; trials 1"),
        ("[True] * 20", 1, "true 20 times of 20, which neither proves nor disproves 90.00%, with an error of 0.00025"),
        ("[True, False] * 300", 1, "which proves that it is less than 90.00%"),
    ],
)
def test_a_test_with_a_share(pytester, suite, outcomes, status, message):
    """It is one of the two tests that share alpha with the self-checks, which are two more."""
    found, output = run(pytester, suite, outcomes)
    assert found == status, output
    assert message in output


def test_with_measuring_off_one_outcome_is_drawn_and_nothing_judged(pytester, suite):
    status, output = run(pytester, suite, "[False]", "--benchmark-disable")
    assert status == 0, output


def test_one_proof_per_test(pytester, suite):
    status, output = run(pytester, suite, "[True] * 500", then="share([True], least=0.9)")
    assert status == 1
    assert "one proof per test: alpha is not split for a second one" in output
