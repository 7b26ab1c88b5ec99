"""Duels that share their reference: what is measured how often, in which order, and whose fault is whose."""

import random
from itertools import count, pairwise
from types import SimpleNamespace

import pytest

from benchmarks.gate.judge.rules import questions
from benchmarks.gate.measure import rounds as module
from benchmarks.gate.measure.rounds import Rounds
from benchmarks.gate.measure.timing import Batch

ALPHA = 0.01
REFERENCE = "reference"


class Scripted:
    """A side whose batches take what `seconds` says, by the number of the call, and which notes its calls."""

    def __init__(self, name, calls, seconds, result=None):
        self.name, self.calls, self.seconds, self.result = name, calls, seconds, result
        self.count = 0

    def batch(self, _iterations):
        self.calls.append(self.name)
        seconds = self.seconds(self.count)
        self.count += 1
        return Batch(seconds, seconds, self.result)


@pytest.fixture
def scripted(monkeypatch):
    """Make rounds of scripted sides: `scripted(reference_seconds, **candidates) -> (rounds, calls)`."""
    monkeypatch.setattr(module, "InProcess", lambda side: side)

    def make(reference, **candidates):
        calls = []
        sides = {name: Scripted(name, calls, seconds, name) for name, seconds in candidates.items()}
        return Rounds(Scripted(REFERENCE, calls, reference, REFERENCE), sides), calls

    return make


def duel(rounds, candidate, floor=2.0, seed=1, budget=60.0, alpha=ALPHA, check=None):
    return rounds.duel(candidate, candidate, questions(floor, None), alpha=alpha, budget=budget, seed=seed, check=check)


def test_the_reference_is_called_as_often_as_one_duel_needs_it(scripted):
    rounds, calls = scripted(lambda _: 1.0, fast=lambda _: 0.1, faster=lambda _: 0.01)
    first = duel(rounds, "fast")
    before = len(calls)
    second = duel(rounds, "faster")
    assert len(calls) == before, "the rounds of the first duel suffice for the second"
    assert (first.ratio, second.ratio) == (pytest.approx(10), pytest.approx(100))
    assert [each.answer("floor") for each in (first, second)] == ["above", "above"]
    assert first.pairs == second.pairs == calls.count(REFERENCE) - 1, "one round warms up"
    assert second.candidate_seconds == [0.01] * second.pairs


def test_a_duel_goes_on_where_the_rounds_do_not_suffice(scripted):
    """The second candidate is above its floor in four of five rounds, which takes more of them."""
    rounds, calls = scripted(lambda _: 1.0, clear=lambda _: 0.1, near=lambda call: 0.6 if call % 5 == 0 else 0.4)
    first = duel(rounds, "clear")
    second = duel(rounds, "near")
    assert second.answer("floor") == "above"
    assert second.pairs > first.pairs
    assert calls.count(REFERENCE) == second.pairs + 1
    assert duel(rounds, "near") == second, "again, without another call"
    assert calls.count(REFERENCE) == second.pairs + 1


def test_a_floor_is_disproved_too(scripted):
    rounds, _ = scripted(lambda _: 1.0, slow=lambda _: 0.9)
    assert duel(rounds, "slow").answer("floor") == "below"


def test_a_budget_ends_a_duel_that_nothing_decides(scripted):
    rounds, calls = scripted(lambda _: 1.0, even=lambda call: 0.4 if call % 2 else 0.6)
    result = duel(rounds, "even", budget=0)
    assert (result.answer("floor"), result.done) == ("open", False)
    assert result.pairs == calls.count(REFERENCE) - 1
    assert result.pairs == module.least_pairs(questions(2.0, None), ALPHA / 2)


def test_a_seed_decides_the_order_of_each_round(scripted):
    def orders(seed):
        rounds, calls = scripted(lambda _: 1.0, one=lambda _: 0.1, two=lambda _: 0.1)
        duel(rounds, "one", seed=seed, alpha=1e-9)
        return [tuple(calls[start : start + 3]) for start in range(3, len(calls), 3)]

    found = orders(5)
    assert all(sorted(order) == ["one", REFERENCE, "two"] for order in found)
    assert len(set(found)) == 6, "each order of three sides occurs"
    assert found == orders(5)
    assert found != orders(6)


def test_each_duel_checks_its_own_results(scripted):
    rounds, calls = scripted(lambda _: 1.0, right=lambda _: 0.1, wrong=lambda _: 0.1)
    seen = []

    def check(reference, candidate):
        seen.append((reference, candidate))
        assert candidate != "wrong", "a wrong result"

    right = duel(rounds, "right", check=check)
    assert seen == [(REFERENCE, "right")] * (right.pairs + 1)
    with pytest.raises(AssertionError, match="a wrong result"):
        duel(rounds, "wrong", check=check)
    assert calls.count(REFERENCE) == right.pairs + 1


@pytest.mark.parametrize("call", [0, 3])
def test_a_candidate_that_fails_leaves_the_rounds(call, scripted):
    """Its own duel raises what it raised, and the others go on without it."""

    def failing(number):
        if number == call:
            raise ConnectionResetError("gone")
        return 0.1

    rounds, calls = scripted(lambda _: 1.0, good=lambda _: 0.1, bad=failing)
    assert duel(rounds, "good").answer("floor") == "above"
    assert calls.count("bad") == call + 1
    with pytest.raises(ConnectionResetError, match="gone"):
        duel(rounds, "bad")


def test_a_reference_that_fails_ends_every_duel(scripted):
    def failing(number):
        if number == 2:
            raise ConnectionResetError("gone")
        return 1.0

    rounds, _ = scripted(failing, one=lambda _: 0.1)
    with pytest.raises(ConnectionResetError, match="gone"):
        duel(rounds, "one")


def test_a_name_that_no_candidate_has(scripted):
    rounds, _ = scripted(lambda _: 1.0, one=lambda _: 0.1, two=lambda _: 0.1)
    with pytest.raises(ValueError, match="no candidate 'three'; there are one, two"):
        duel(rounds, "three")


def test_preparation_precedes_each_round_and_is_not_timed():
    events = []
    rounds = Rounds(
        lambda: events.append("call"), {"one": lambda: events.append("call")}, prepare=lambda: events.append("prepare")
    )
    result = duel(rounds, "one", floor=0.001, budget=0)
    assert events[:3] == ["prepare", "call", "call"]
    assert events.count("prepare") == result.pairs + 1
    assert all(before != after for before, after in pairwise(events) if before == "prepare")


def test_error_rates_of_duels_that_share_a_reference(scripted, monkeypatch):
    """Three candidates exactly at their floor, each with an alpha of 10 %: of 100 times three, at most 10 % are wrong.

    Some duels begin with the rounds of another one, which stopped when that one was answered.
    """
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=count().__next__))  # a round takes a second
    generator = random.Random(7)
    wrong = 0
    for seed in range(100):
        noise = {name: random.Random(generator.random()) for name in (REFERENCE, "a", "b", "c")}
        rounds, _ = scripted(
            lambda _, noise=noise: noise[REFERENCE].lognormvariate(0, 0.3),
            **{name: lambda _, own=noise[name]: own.lognormvariate(0, 0.3) / 2 for name in ("a", "b", "c")},
        )
        for name in ("a", "b", "c"):
            result = rounds.duel(name, name, questions(2.0, None), alpha=0.1, budget=200, seed=seed)
            wrong += result.answer("floor") != "open"
    assert 0 < wrong <= 30


SUITE = """
import time
import pytest

CALLS = []

def slow():
    CALLS.append("slow")
    time.sleep(0.02)
    return 1

def fast():
    time.sleep(0.002)
    return 1

def wrong():
    return 2

@pytest.fixture(scope="module")
def together(rounds):
    return rounds(slow, {"fast": fast, "wrong": wrong})

def check(reference, candidate):
    assert reference == candidate, f"{candidate} and not {reference}"

@pytest.mark.parametrize("name", ["fast", "wrong"])
def test_speedup(name, together, duel):
    duel(together, name, floor=2, check=check)

def test_calls():
    print(len(CALLS), "calls")
"""


def test_each_duel_in_rounds_is_a_test(pytester):
    pytester.makepyfile(test_toy=SUITE)
    result = pytester.runpytest("-p", "benchmarks.gate.plugin", "-rP", "--gate-json=report.json")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["E *2 and not 1*", "*toy test_speedup?fast?*floor holds*"])
    saved = (pytester.path / "report.json").read_text()
    assert '"test_toy.py::test_speedup[fast]"' in saved


def test_with_measuring_off_each_side_runs_once(pytester):
    pytester.makepyfile(test_toy=SUITE)
    result = pytester.runpytest("-p", "benchmarks.gate.plugin", "-rP", "--benchmark-disable")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["E *2 and not 1*", "1 calls"])
