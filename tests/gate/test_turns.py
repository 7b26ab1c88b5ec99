"""Duels take turns: what is open waits, what is decided leaves its time, and nothing is judged before that is over."""

import json

import pytest

from benchmarks.gate.measure.duel import recall
from benchmarks.gate.measure.evidence import Part, Times
from benchmarks.gate.plugin import turns as turns_module
from benchmarks.gate.plugin.session import CANARY, CONTROL
from benchmarks.gate.plugin.turns import LEAST_TURN, Turns

from .toy_suite import SELFCHECKS, SUITE, refused

SAME = [Times(1.0, 1.0, 1.0, 1.0)] * 40
OPEN = [Times(1.0, 1.0, 0.9, 0.9), Times(1.0, 1.0, 1.12, 1.12)] * 20  # blind, and without a slow call
PREPARATION = 1.0  # seconds


class Clock:
    """Time that passes only when a duel runs."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


class Scripted:
    """Runs each duel as its script says, a turn at a time, and takes as long as it may; the last turn is repeated."""

    def __init__(self, clock, **scripts):
        self.clock, self.scripts = clock, scripts
        self.turns = []  # (variant, seconds it may take, pairs it begins with, seed)

    def pytest_gate_runner(self):
        return self.run

    def run(self, name, reference, candidate, questions, *, alpha, budget, seed, decided, evidence=(), **_):
        if name in {CONTROL, CANARY}:
            pairs = [Times(1.0, 1.0, 1.0 if name == CONTROL else 1.05, 1.0 if name == CONTROL else 1.05)] * 40
            return recall(name, questions, [Part(seed, 1, 1.0, pairs)], alpha=alpha, decided=decided)
        variant = name.partition("[")[2].rstrip("]")
        script = self.scripts[variant]
        self.turns.append((variant, budget, sum(len(part.pairs) for part in evidence), seed))
        part = Part(seed, 1, budget, script[min(len(evidence), len(script) - 1)])
        duel = recall(name, questions, (*evidence, part), alpha=alpha, decided=decided)
        self.clock.now += PREPARATION + (1.0 if duel.done else budget)
        return duel


@pytest.fixture
def scripted(pytester, repository, monkeypatch):
    """Return a function that runs the toy suite with scripted duels: `(result, turns taken)`."""
    clock = Clock()
    monkeypatch.setattr(turns_module, "time", clock)

    def run(*options, plugins=(), **scripts):
        runner = Scripted(clock, **scripts)
        result = pytester.inline_run("--against=HEAD", "--duel-seed=1", *options, plugins=[runner, *plugins])
        return result, runner.turns

    # Not the self-checks of `repository`: what runs the duels here runs these as well.
    monkeypatch.setattr(pytester, "inline_run", pytester.inline_run.func)
    return run


def verdicts(pytester):
    rows = json.loads((pytester.path / "gate.json").read_text())["revision"]["benchmarks"]
    return {row["name"].partition("[")[2].rstrip("]"): row for row in rows}


def test_what_is_open_waits_for_another_turn_and_its_pairs_add_up(pytester, scripted):
    result, taken = scripted("--gate-json=gate.json", steady=[OPEN, SAME * 3], other=[SAME])
    result.assertoutcome(passed=2 + SELFCHECKS)
    assert [(variant, pairs) for variant, _, pairs, _ in taken] == [("steady", 0), ("other", 0), ("steady", 40)]
    assert taken[0][3] != taken[2][3]  # a coin of its own
    rows = verdicts(pytester)
    assert list(rows) == ["other", "steady"]
    assert rows["steady"]["verdict"] == rows["other"]["verdict"] == "same"
    assert rows["steady"]["duel"]["pairs"] == 160
    assert rows["steady"]["duel"]["seconds"] == pytest.approx(taken[0][1] + taken[2][1])


def test_a_turn_is_an_equal_part_of_what_is_left(scripted):
    _, taken = scripted("--gate-minutes=2", steady=[OPEN], other=[SAME])
    first, second, third = (seconds for _, seconds, _, _ in taken)
    assert first == 60
    assert second == pytest.approx((120 - 61) / 2)
    assert third == pytest.approx(120 - 61 - 2)  # the other one is decided, and all that is left is for this one


def test_when_the_time_is_over_a_duel_is_judged_by_what_it_has(pytester, repository, scripted):
    noting = "\ndef built(work):\n    with open('built.txt', 'a') as file:\n        file.write('x')\n    return work\n"
    repository(benchmarks=SUITE.replace("lambda work: work", "built") + noting)
    result, taken = scripted("--gate-minutes=0.5", "--gate-json=gate.json", steady=[OPEN], other=[OPEN])
    result.assertoutcome(failed=2, passed=SELFCHECKS)
    assert [variant for variant, *_ in taken] == ["steady", "other", "steady"]
    rows = verdicts(pytester)
    assert {row["verdict"] for row in rows.values()} == {"inconclusive"}
    assert rows["steady"]["duel"]["pairs"] == 80
    # Nothing is prepared for the judgement: three sides for each turn, and no more.
    assert (pytester.path / "built.txt").read_text() == "x" * 3 * len(taken)


def test_without_time_each_duel_has_one_turn(scripted):
    result, taken = scripted("--gate-minutes=0", steady=[OPEN], other=[SAME])
    result.assertoutcome(failed=1, passed=1 + SELFCHECKS)
    assert [(variant, seconds) for variant, seconds, _, _ in taken] == [("steady", LEAST_TURN), ("other", LEAST_TURN)]


def test_a_budget_ends_a_duel_at_once(scripted):
    result, taken = scripted("--budget=7", steady=[OPEN, SAME], other=[SAME])
    result.assertoutcome(failed=1, passed=1 + SELFCHECKS)
    assert [(variant, seconds) for variant, seconds, _, _ in taken] == [("steady", 7), ("other", 7)]


def test_the_budget_of_a_mark_does_as_well(repository, scripted):
    repository(benchmarks=SUITE.replace("@pytest", "@pytest.mark.gate(budget=7)\n@pytest", 1))
    _, taken = scripted(steady=[OPEN, SAME], other=[OPEN, SAME])
    assert [(variant, seconds) for variant, seconds, _, _ in taken] == [("steady", 7), ("other", 7)]


def test_an_open_duel_is_neither_reported_nor_counted_before_its_end(pytester, repository, scripted):
    test = "def test_revision(variant, against):"
    repository(benchmarks=SUITE.replace(test, "def test_revision(variant, against, note):\n    note('size', 3)"))

    class Reports:
        def __init__(self):
            self.seen = []

        def pytest_runtest_logreport(self, report):
            if report.when == "call":
                self.seen.append((report.nodeid.partition("::")[2], report.outcome))

    reports = Reports()
    result, taken = scripted("--gate-json=gate.json", plugins=[reports], steady=[OPEN, SAME * 3], other=[SAME])
    result.assertoutcome(passed=2 + SELFCHECKS)
    assert len(taken) == 3
    names = ["test_revision[other]", "test_revision[steady]"]
    assert [test for test, _ in reports.seen if "revision" in test] == names
    assert {outcome for _, outcome in reports.seen} == {"passed"}
    notes = json.loads((pytester.path / "gate.json").read_text())["notes"]
    assert sorted(note["test"].partition("::")[2] for note in notes) == names


def test_fixtures_of_a_module_end_after_the_last_turn(repository, scripted, capfd):
    fixture = """
import sys
@pytest.fixture(scope="module")
def server():
    print("up", file=sys.stderr)
    yield
    print("down", file=sys.stderr)
"""
    repository(benchmarks=SUITE.replace("(variant, against)", "(variant, against, server)") + fixture)
    result, taken = scripted("-s", steady=[OPEN, SAME * 3], other=[SAME])
    result.assertoutcome(passed=2 + SELFCHECKS)
    assert len(taken) == 3
    assert capfd.readouterr().err.split() == ["up", "down"]


def test_a_failure_behind_an_open_duel_is_reported(repository, scripted):
    broken = "\n@pytest.fixture\ndef broken():\n    yield\n    raise OSError('disk')\n"
    repository(benchmarks=SUITE.replace("(variant, against)", "(variant, against, broken)") + broken)
    result, taken = scripted(steady=[OPEN, SAME * 3], other=[SAME])
    assert [variant for variant, *_ in taken] == ["steady", "other"]
    passed, skipped, failed = result.listoutcomes()
    assert sum("disk" in str(report.longrepr) for report in failed) == 2
    assert len(skipped) == 1
    assert len(passed) == 1 + SELFCHECKS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--budget=3", "--gate-minutes=3"], "give one of them"),
        (["--gate-minutes=-1"], "--gate-minutes is a number of minutes, not -1"),
        (["--gate-minutes=nan"], "--gate-minutes is a number of minutes, not nan"),
        (["--gate-minutes=inf"], "--gate-minutes is a number of minutes, not inf"),
    ],
)
def test_options_that_make_no_sense(pytester, repository, options, message):
    assert message in refused(pytester, "--against=HEAD", *options)


def test_the_clock_starts_with_the_first_duel(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(turns_module, "time", clock)
    turns = Turns.of(1, ["a", "b"])
    clock.now += 500
    assert turns.left == 60
    clock.now += 56
    assert turns.over
    assert turns.turn() == LEAST_TURN
