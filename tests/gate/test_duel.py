"""Duels on a fake clock: pairs, orders, answers, checks."""

import itertools
import json
import math
import time

import pytest

from benchmarks.gate.measure import duel
from benchmarks.gate.measure.bets import Question
from benchmarks.gate.measure.duel import FIRST_LOOK, Duel, run_duel
from benchmarks.gate.measure.evalue import min_pairs
from benchmarks.gate.measure.tail import SLOW, RunningMedian, TailAnswer, TailQuestion
from benchmarks.gate.measure.timing import Batch

ALPHA = 0.001


class Work:
    """A side that claims to take the given seconds, one after the other and over again."""

    def __init__(self, *seconds, cpu=None, result=None, log=None):
        self.seconds, self.cpu = itertools.cycle(seconds), cpu and itertools.cycle(cpu)
        self.result, self.log = result, log
        self.calls = 0

    def call(self):
        self.calls += 1
        return self.result

    def batch(self, iterations):
        if self.log is not None:
            self.log.append(self)
        result = [self.call() for _ in range(iterations)][-1]
        wall = next(self.seconds) * iterations
        return Batch(wall, next(self.cpu) * iterations if self.cpu else wall, result)


MAX_UNCHECKED = duel.MAX_UNCHECKED


@pytest.fixture(autouse=True)
def two_calls_a_batch_and_each_pair_is_checked(monkeypatch):
    """A check takes no time here, unless this process is preempted: then more pairs would follow than a test counts."""
    monkeypatch.setattr(duel, "batch_size", lambda *_: (2, ""))
    monkeypatch.setattr(duel, "MAX_UNCHECKED", 1)


def run(reference, candidate, *questions, budget=0.0, seed=1, check=None):
    return run_duel("toy", reference, candidate, questions, alpha=ALPHA, budget=budget, seed=seed, check=check)


def test_a_floor_below_the_ratio_is_proven_with_the_fewest_pairs():
    found = run(Work(1.0), Work(0.2), Question("floor", 4, 4))
    assert found.answer("floor") == "above"
    assert found.pairs == min_pairs(ALPHA / 2) == found.answers["floor"].wins_above
    assert found.answers["floor"].log_e_above >= math.log(2 / ALPHA)
    assert (found.ratio, found.reference, found.candidate) == (pytest.approx(5), 1.0, 0.2)
    assert found.interval == (pytest.approx(5), pytest.approx(5))
    assert found.coverage >= 0.95


def test_a_floor_above_the_ratio_is_disproved():
    assert run(Work(1.0), Work(0.2), Question("floor", 6, 6)).answer("floor") == "below"


def test_a_tie_wins_neither_bet():
    found = run(Work(1.0), Work(0.5), Question("floor", 2, 2))
    assert found.answer("floor") == "open"
    assert (found.answers["floor"].wins_above, found.answers["floor"].wins_below) == (0, 0)


def test_the_budget_ends_what_stays_open_but_not_before_the_least_number_of_pairs():
    found = run(Work(1.0, 3.0), Work(1.0), Question("floor", 2, 2), budget=0)
    assert found.answer("floor") == "open"
    assert found.pairs == min_pairs(ALPHA / 2)
    assert found.confidence_sequence == (1.0, 3.0)
    longer = run(Work(1.0, 3.0), Work(1.0), Question("floor", 2, 2), budget=0.05)
    assert longer.pairs > found.pairs
    assert 0.05 <= longer.seconds < 1


def test_nested_questions_cost_no_alpha_and_another_clock_does():
    one = run(Work(1.0), Work(0.2), Question("floor", 4, 4))
    two = run(Work(1.0), Work(0.2), Question("floor", 4, 4), Question("saved", 3, 3))
    assert two.pairs == one.pairs == min_pairs(ALPHA / 2)
    assert two.answer("saved") == "above"
    both = run(Work(1.0), Work(0.2), Question("floor", 4, 4), Question("saved", 3, 3, clock="cpu"))
    assert both.pairs == min_pairs(ALPHA / 4) > one.pairs


def test_each_question_is_about_its_own_clock():
    found = run(Work(1.0, cpu=[3.0]), Work(1.0, cpu=[1.0]), Question("wall", 2, 2), Question("cpu", 2, 2, clock="cpu"))
    assert (found.answer("wall"), found.answer("cpu")) == ("below", "above")
    assert (found.ratio, found.cpu.ratio) == (1.0, 3.0)
    assert (found.cpu.reference, found.cpu.candidate) == (3.0, 1.0)
    assert found.cpu.confidence_sequence[0] == 3.0


@pytest.mark.parametrize("cpu", [0.0, math.nan])
def test_a_clock_that_measures_nothing_proves_nothing(cpu):
    found = run(Work(1.0, cpu=[cpu]), Work(1.0, cpu=[cpu]), Question("cpu", 0.9, 1.1, clock="cpu"))
    assert found.answer("cpu") == "open"
    assert found.cpu is None
    json.dumps(found.to_dict(), allow_nan=False)


def test_who_asks_decides_when_the_answers_suffice():
    sides = Work(1.0), Work(0.2)
    asked = Question("easy", 4, 4), Question("tie", 5, 5)
    found = run_duel(
        "toy", *sides, asked, alpha=ALPHA, budget=60, seed=1, decided=lambda answers: answers["easy"].verdict == "above"
    )
    assert (found.pairs, found.answer("tie")) == (min_pairs(ALPHA / 2), "open")


def test_every_needed_question_is_waited_for_and_no_other():
    ratios = Work(3.0, 3.0, 3.0, 1.0), Work(1.0)
    needed = run(*ratios, Question("easy", 0.5, 0.5), Question("hard", 2, 2), budget=5)
    assert needed.answer("hard") == "above"
    optional = run(*ratios, Question("easy", 0.5, 0.5), Question("hard", 2, 2, needed=False), budget=5)
    assert optional.answer("hard") == "open"
    assert optional.pairs < needed.pairs


def test_a_question_with_room_between_its_bets():
    # As for two revisions: "more than 3 % slower" and "more than 1 % slower" are different claims.
    revision = Question("revision", above=1 / 1.03, below=1 / 1.01)
    assert run(Work(1.0), Work(1.0), revision).answer("revision") == "above"
    assert run(Work(1.0), Work(1.05), revision).answer("revision") == "below"


def test_without_questions_there_is_still_an_estimate():
    found = run(Work(1.0), Work(0.5))
    assert (found.ratio, found.answers, found.answer("floor")) == (2.0, {}, None)


def test_the_seed_decides_the_order_and_both_orders_happen():
    def orders(seed):
        log = []
        reference, candidate = Work(1.0, log=log), Work(0.2, log=log)
        run(reference, candidate, Question("floor", 4, 4), seed=seed)
        pairs = list(zip(log[::2], log[1::2], strict=True))
        assert all({first, second} == {reference, candidate} for first, second in pairs)
        return [first is reference for first, _ in pairs]

    assert orders(1) == orders(1) != orders(2)
    assert {True, False} == set(orders(1))


class Slow:
    """A check that takes longer than eight pairs, and notes the results it sees among the calls of a work."""

    def __init__(self, log, wrong_from=math.inf):
        self.log, self.wrong_from = log, wrong_from
        self.seen = 0

    def __call__(self, reference, candidate):
        self.log.append("check")
        self.seen += 1
        time.sleep(0.002)
        assert self.seen < self.wrong_from, "wrong"


def test_pairs_follow_each_other_where_checks_take_longer_and_each_is_checked(monkeypatch):
    monkeypatch.setattr(duel, "MAX_UNCHECKED", MAX_UNCHECKED)
    log = []
    found = run(Work(1.0, log=log), Work(0.2), Question("floor", 4, 4), check=Slow(log))
    kinds = ["check" if entry == "check" else "pair" for entry in log]
    runs = [(kind, len(list(group))) for kind, group in itertools.groupby(kinds)]
    assert runs[:3] == [("check", 1), ("pair", 1), ("check", 1)]  # the warm-up, and a pair that shows how long it takes
    assert max(count for _, count in runs) == MAX_UNCHECKED
    assert all(pair[1] == check[1] for pair, check in itertools.pairwise(runs[1:]) if pair[0] == "pair")
    assert kinds.count("check") == found.pairs + 1


@pytest.mark.parametrize("place", [1, 2, 6, 12])
def test_no_pair_counts_that_is_found_wrong_later(place):
    counted = []
    with pytest.raises(AssertionError, match="wrong"):
        run_duel(
            "toy",
            Work(1.0),
            Work(0.2),
            [Question("floor", 4, 4)],
            alpha=ALPHA,
            budget=0,
            seed=1,
            check=Slow([], place),
            progress=lambda pairs, _seconds, _evidence: counted.append(pairs),
        )
    assert max(counted, default=0) < max(place - 1, 1)


def test_results_are_checked_before_anything_is_measured_and_after_every_pair():
    seen = []
    found = run(Work(1.0, result="a"), Work(0.2, result="b"), check=lambda *results: seen.append(results))
    assert seen == [("a", "b")] * (found.pairs + 1)


def test_a_wrong_result_ends_the_duel_before_it_is_measured():
    def check(reference, candidate):
        assert reference == candidate

    log = []
    with pytest.raises(AssertionError):
        run(Work(1.0, result=1, log=log), Work(0.2, result=2, log=log), check=check)
    assert not log


def test_a_result_that_goes_wrong_later_is_seen_too():
    candidate = Work(0.2, result=1)

    def check(reference, result):
        assert result == reference
        candidate.result = 1 if candidate.calls < 9 else 2

    with pytest.raises(AssertionError):
        run(Work(1.0, result=1), candidate, check=check)


def test_an_exception_of_either_side_comes_through():
    with pytest.raises(ZeroDivisionError):
        run(Work(1.0), lambda: 1 / 0)


def test_saved_runs_up_to_0004_call_the_confidence_sequence_told():
    saved = run(Work(1.0), Work(0.2)).to_dict()
    saved["told"] = saved.pop("confidence_sequence")
    again = Duel.from_dict(saved)
    assert list(again.confidence_sequence) == list(saved["told"])
    assert "told" not in again.to_dict()


def test_saved_as_json_and_read_again():
    found = run(Work(1.0), Work(0.2), Question("floor", 4, 4), Question("saved", 9, 9, needed=False))
    text = json.dumps(found.to_dict(), allow_nan=False)
    again = Duel.from_dict(json.loads(text))
    assert again.to_dict() == found.to_dict()
    assert again.answers == found.answers
    assert not again.candidate_seconds
    assert len(found.candidate_seconds) == found.pairs
    assert "candidate_seconds" not in text


def test_the_answer_about_slow_calls_is_read_again():
    found = run(Work(1.0), Work(*[1.0] * 9, 2.0), TailQuestion("tail", 0.99, 0.99, needed=False))
    again = Duel.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False)))
    assert isinstance(again.answers["tail"], TailAnswer)
    assert again.answers == found.answers
    assert again.slow_calls == found.slow_calls > 0.1


@pytest.mark.parametrize(
    "damage", [{"answers": None}, {"interval": [1]}, {"confidence_sequence": ["x", 1]}, {"ratio": ...}]
)
def test_something_else_is_refused(damage):
    saved = {**run(Work(1.0), Work(0.2)).to_dict(), **damage}
    saved = {key: value for key, value in saved.items() if value is not ...}
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError, IndexError)):
        Duel.from_dict(saved)


def test_slow_calls_are_counted_for_each_limit():
    answer = TailAnswer(TailQuestion("tail", 0.5, 0.5))
    for reference, candidate in [(1.0, 2.0), (1.0, 2.4), (1.0, 4.0), (1.0, 8.0), (1.2, 1.0), (2.0, 1.0), (4.0, 9.0)]:
        answer.look_at(reference, candidate, 1e-9)  # the candidate's times count half
    assert SLOW == (1.15, 1.5, 3.0)
    assert (answer.more, answer.fewer, answer.pairs) == ([3, 2, 1], [2, 1, 0], 7)


def test_a_running_median_is_of_earlier_batches_and_forgets():
    recent = RunningMedian()
    assert recent.before(1.0, 3.0) is None
    assert recent.before(9.0, 9.0) == 2.0
    assert recent.before(9.0, 9.0) == 6.0
    for _ in range(20):
        recent.before(5.0, 5.0)
    assert recent.before() == 5.0


class Cold(Work):
    """A side that takes longer as the first of a pair, unless it was called just before."""

    def __init__(self, seconds, calls):
        super().__init__(seconds)
        self.warm_seconds, self.calls = seconds, calls  # both sides write what they run to one list

    def call(self):
        self.calls.append(("call", self))

    def batch(self, _iterations):
        warm = len(self.calls) > 2 and self.calls[-1] == ("call", self)
        first = [kind for kind, _ in self.calls].count("batch") % 2 == 0
        self.calls.append(("batch", self))
        seconds = self.warm_seconds * (1.2 if first and not warm else 1.0)
        return Batch(seconds, seconds, None)


def test_calls_are_discarded_where_the_order_hides_the_tolerance():
    calls = []
    revision = Question("revision", above=1 / 1.03, below=1 / 1.01)
    found = run(Cold(1.0, calls), Cold(1.03, calls), revision, budget=5)
    assert (found.discards, found.answer("revision")) == (True, "below")
    assert found.position == pytest.approx(0.2)
    assert found.carry_over == pytest.approx(0)
    assert found.answers["revision"].log_start_below < 0
    before, after = calls[2 : 2 + 2 * FIRST_LOOK], calls[2 + 2 * FIRST_LOOK :]  # without the calls of the warm-up
    assert {kind for kind, _ in before} == {"batch"}
    assert [kind for kind, _ in after] == ["call", "batch"] * (2 * found.pairs)
    assert all(call[1] is batch[1] for call, batch in zip(after[::2], after[1::2], strict=True))


def test_nothing_is_discarded_where_no_tolerance_is_asked_for():
    calls = []
    found = run(Cold(1.0, calls), Cold(1.03, calls), Question("floor", 0.9, 0.9), budget=0.01)
    assert not found.discards
    assert found.position == pytest.approx(0.2)
