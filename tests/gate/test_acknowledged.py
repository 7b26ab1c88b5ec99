"""Acknowledged slowdowns: what is admitted, what is not, and each way in which the file is refused."""

import datetime as dt
import json
import math
import random
import tomllib
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from benchmarks.gate.judge.acknowledged import BOUNDS, Entry, admission, change, of_memory, read
from benchmarks.gate.judge.memory import MIB, MemoryRow
from benchmarks.gate.judge.reasons import Reason
from benchmarks.gate.judge.rules import revision_decided, revision_questions, start_questions
from benchmarks.gate.measure.bets import alpha_of_a_bet
from benchmarks.gate.measure.score import Score
from benchmarks.gate.measure.timing import Batch
from benchmarks.gate.plugin.acknowledged import Acknowledgements
from benchmarks.gate.report import json_report

from .test_simulated import PAIRS, signs, simulated
from .toy_suite import INI, SUITE, commit, git, refused

FILE = "suite/acknowledged.toml"
SLOWER = "time.sleep(0.0046)"  # 15 % more
DAY = dt.date(2026, 11, 27)
ENTRY = Entry("test_revision[other]", 0.08, "it flushes", dt.date(2027, 1, 31))


def written(*, test="test_revision[other]", bound="30 %", reason="it flushes each line", expires="9999-12-31", more=""):
    return f'[[slowdown]]\ntest = "{test}"\nbound = "{bound}"\nreason = "{reason}"\nexpires = {expires}\n{more}'


# The rule


ANSWERS = {
    # revision, cpu, tail; bound, bound of cpu, bound of tail
    "within": ("below open open", "above open open", "admitted"),
    "within, CPU as well": ("below below open", "above above open", "admitted"),
    "within, by CPU alone": ("open below open", "above above open", "admitted"),
    "within, slow calls as well": ("below open below", "above open above", "admitted"),
    "within, CPU unknown": ("below below open", "above open open", "unproven"),
    "within, slow calls unknown": ("below open below", "above open open", "unproven"),
    "slow calls alone": ("open open below", "above open open", "unproven"),
    "wall unknown": ("below open open", "open open open", "unproven"),
    "wall unknown, by CPU": ("open below open", "open above open", "unproven"),
    "exceeded": ("below open open", "below open open", "exceeded"),
    "exceeded by CPU": ("below below open", "above below open", "exceeded"),
    "exceeded by slow calls": ("below open below", "above open below", "exceeded"),
}


def answers_of(of_revision, of_bound):
    verdicts = dict(zip([*BOUNDS, *BOUNDS.values()], f"{of_revision} {of_bound}".split(), strict=True))
    answers = {question.name: question.answer() for question in revision_questions(0.03, 0.1, bound=0.08)}
    for name, verdict in verdicts.items():
        answers[name].verdict = verdict
    return answers


@pytest.mark.parametrize(("of_revision", "of_bound", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_what_is_admitted(of_revision, of_bound, expected):
    answers = answers_of(of_revision, of_bound)
    assert admission(answers) == expected
    assert revision_decided(answers) == (expected != "unproven")


def test_without_a_bound_nothing_is_admitted():
    answers = {question.name: question.answer() for question in revision_questions(0.03, 0.1)}
    assert admission(answers) is None


@pytest.mark.parametrize("cpu", [True, False])
def test_a_bound_takes_no_share_of_alpha(cpu):
    with_bound = revision_questions(0.03, 0.1, cpu=cpu, bound=0.08)
    assert alpha_of_a_bet(with_bound, 0.01) == alpha_of_a_bet(revision_questions(0.03, 0.1, cpu=cpu), 0.01)
    assert {question.clock for question in with_bound} == ({"wall", "cpu"} if cpu else {"wall"})
    assert alpha_of_a_bet(start_questions(0.8), 0.01) == alpha_of_a_bet(start_questions(), 0.01)


def test_a_bound_of_starts_is_a_limit_of_its_own():
    *_, of_bound = start_questions(1.0)
    assert (of_bound.name, of_bound.above, of_bound.below) == ("bound", 0.5, 0.5)
    assert len(start_questions()) == len(start_questions(1.0)) - 1


def test_a_slowdown_of_the_whole_bound_is_rarely_admitted():
    """Wall time must be proven to be within the bound, so this limits the rate of all that is admitted."""
    generator, bound, alpha, duels = np.random.default_rng(1), 0.08, 0.05, 20_000
    limit = 1 / alpha_of_a_bet(revision_questions(0.03, 0.1, bound=bound), alpha)
    admitted = 0
    for _ in range(duels // 5_000):
        reference, candidate = simulated(generator, 5_000, bound)["wall"]
        admitted += int((signs(reference / candidate > 1 / (1 + bound)).max(axis=1) >= limit).sum())
    assert admitted <= alpha / 2 * duels
    assert PAIRS == 64  # as METHODOLOGY.md says


def duel(slowdown, *, bound=0.08, seed=1, noise=0.01, most=2_000, slow=0.0):
    """Score simulated pairs of 10 ms until they decide; a share of the calls here is `slow`, five times as long."""
    generator = random.Random(seed)
    score = Score(revision_questions(0.03, 0.1, bound=bound), 1e-4, revision_decided)

    def batch(times):
        seconds = 0.01 * times * math.exp(generator.gauss(0, noise))
        return Batch(seconds, seconds, None)

    while not (score.done or score.pairs >= most):
        score.add(batch(1), batch((1 + slowdown) * (5 if generator.random() < slow else 1)))
    return admission(score.answers), score.pairs


@pytest.mark.parametrize(
    ("slowdown", "expected"), [(0.04, "admitted"), (0.06, "admitted"), (0.1, "exceeded"), (0.2, "exceeded")]
)
def test_a_duel_goes_on_until_the_bound_is_decided(slowdown, expected):
    assert {duel(slowdown, seed=seed)[0] for seed in range(10)} == {expected}


def test_slow_calls_are_waited_for_and_not_admitted():
    assert {duel(0.04, seed=seed, slow=0.3)[0] for seed in range(10)} <= {"exceeded", "unproven"}


# The entries


def test_entries_are_read():
    text = written(bound="7.5 %") + written(test="b", expires="2027-01-31").replace('"30 %"', "12")
    first, second = read(tomllib.loads(text))
    assert first == Entry("test_revision[other]", 0.075, "it flushes each line", dt.date(9999, 12, 31))
    assert second == Entry("b", 0.12, "it flushes each line", dt.date(2027, 1, 31))
    assert read({}) == ()


def test_an_entry_counts_on_its_last_day():
    assert not ENTRY.expired(ENTRY.expires)
    assert ENTRY.expired(ENTRY.expires + dt.timedelta(days=1))


def test_an_entry_names_one_test():
    assert ENTRY.names("a.py::test_revision[other]")
    assert not ENTRY.names("a.py::test_revision[another]")
    assert not Entry("test_revision", 0.08, "x", DAY).names("a.py::test_revision[other]")


def test_what_changed():
    wider = Entry(ENTRY.test, 0.2, ENTRY.reason, ENTRY.expires)
    assert [change(ENTRY, there) for there in ((ENTRY,), (wider,), ())] == [None, "changed", "added"]


MALFORMED = {
    "no list": ('slowdown = "x"', "is a list of tables"),
    "another table": ("[[slowdwon]]\n", "'slowdwon' is unknown"),
    "another key": (written(more='until = "x"'), "entry 1 (test 'test_revision[other]'): the key 'until' is unknown"),
    "a key too few": ('[[slowdown]]\ntest = "a"\n', "'bound' is missing: write [[slowdown]] test ="),
    "no test": (written(test=" "), "`test` is the id or the name of a benchmark"),
    "no reason": (written(reason=" "), "the reason is empty: say for the reviewer"),
    "a date in quotes": (written(expires='"2027-01-31"'), "`expires` is a date without quotes"),
    "a date with a time": (written(expires="2027-01-31T00:00:00"), "`expires` is a date without quotes"),
    "no per cent": (written(bound="8"), "the bound is per cent"),
    "nothing": (written(bound="0 %"), "the bound is per cent"),
    "less than nothing": (written(bound="-8 %"), "the bound is per cent"),
    "infinite": (written().replace('"30 %"', "inf"), "the bound is per cent"),
    "true": (written().replace('"30 %"', "true"), "the bound is per cent"),
    "no TOML": ("[[slowdown", FILE),
    "the other text": ("\udcff", FILE),
}


@pytest.fixture
def acknowledged(pytester, repository):
    """Return what writes the file, in a repository whose commit has none."""
    pytester.makeini(INI + f"gate_acknowledged = {FILE}\n")

    def write(text=None, **values):
        content = written(**values) if text is None else text
        (pytester.path / FILE).write_text(content, encoding="utf-8", errors="surrogateescape")

    return write


@pytest.mark.parametrize(("text", "message"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_file_is_refused(pytester, acknowledged, text, message):
    acknowledged(text)
    said = refused(pytester, "--against=HEAD", "--collect-only")
    assert message in said
    assert FILE in said


REFUSED = {
    "no such test": ({"test": "test_revision[gone]"}, "removed, renamed or misspelt? Correct `test`, or delete"),
    "no such id": ({"test": "suite/test_toy.py::test_revision[gone]"}, "removed, renamed or misspelt?"),
    "a function": ({"test": "test_revision"}, "removed, renamed or misspelt?"),
    "another kind": ({"test": "test_plain"}, "removed, renamed or misspelt?"),
    "a low bound": ({"bound": "3 %"}, "the bound of 0.03 is not above 0.03, up to which nothing is red"),
    "twice": ({"more": written(test="suite/test_toy.py::test_revision[other]")}, "entry 2 (test 'suite/test_toy.py::"),
}


@pytest.mark.parametrize(("values", "message"), REFUSED.values(), ids=REFUSED)
def test_an_entry_without_effect_is_refused(pytester, acknowledged, values, message):
    acknowledged(**values)
    assert message in refused(pytester, "--against=HEAD", "--collect-only")


def test_a_name_that_two_benchmarks_have_is_refused(pytester, acknowledged):
    acknowledged()
    (pytester.path / "suite/test_twin.py").write_text(SUITE)
    assert "2 benchmarks have that name; write the id of one of suite/" in refused(
        pytester, "--against=HEAD", "--collect-only"
    )


def test_a_missing_file_is_refused(pytester, acknowledged):
    assert "add it (empty is enough), or remove the option" in refused(pytester, "--against=HEAD", "--collect-only")


def test_an_entry_of_another_file_is_left_alone(pytester, acknowledged):
    acknowledged(test="suite/test_other.py::test_revision[gone]", more=written(test="test_elsewhere[x]"))
    result = pytester.runpytest_inprocess("--against=HEAD", "--collect-only", "suite/test_toy.py")
    assert result.ret == pytest.ExitCode.OK


def test_the_mark_of_a_test_has_its_tolerance(pytester, acknowledged, repository):
    repository(benchmarks=SUITE.replace("@pytest", "@pytest.mark.gate(tolerance=40, blind=50)\n@pytest", 1))
    acknowledged()
    assert "is not above 0.4" in refused(pytester, "--against=HEAD", "--collect-only")


# Runs


def judged(pytester, *options):
    """Return the result of a run and its document, which the schema knows."""
    result = pytester.runpytest_inprocess("--against=HEAD", "--duel-seed=1", "--gate-json=gate.json", *options)
    document = json.loads((pytester.path / "gate.json").read_text(encoding="utf-8"))
    schema = json.loads(Path(json_report.__file__).with_name("gate.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema)
    return result, document


def row_of(document, name="other"):
    (row,) = (row for row in document["revision"]["benchmarks"] if row["name"].endswith(f"[{name}]"))
    return row


def test_within_its_bound_a_slowdown_is_yellow(pytester, acknowledged, repository, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    repository(other=SLOWER)
    acknowledged()
    result, document = judged(pytester)
    assert result.ret == pytest.ExitCode.OK
    row = row_of(document)
    assert row["verdict"] == "slower"
    assert row["acknowledged"] == {
        "bound": 0.3,
        "reason": "it flushes each line",
        "expires": "9999-12-31",
        "state": "admitted",
        "change": "added",
    }
    assert document["revision"]["acknowledged"] == [{"test": row["test"], **row["acknowledged"]}]
    assert (document["outcome"]["status"], document["outcome"]["failed"]) == (0, {})
    result.stdout.fnmatch_lines(
        [
            "toy test_revision[[]other[]] *slower, acknowledged*",
            "*other*: acknowledged, up to 30 % and until 9999-12-31 (added by this change): it flushes each line",
            "against HEAD (*): 1 same, 1 slower, acknowledged",
            "::warning file=suite/test_toy.py,title=*::acknowledged*",
        ]
    )
    # The file says nothing about the work: REV's own benchmarks did not run for it.
    assert "files of the benchmarks differ" not in result.stdout.str()


@pytest.mark.parametrize(
    ("values", "state", "message"),
    [
        ({"bound": "5 %"}, "exceeded", "it exceeds the acknowledged 5 %*Find the rest, or raise the bound"),
        ({"expires": "2026-01-31"}, "expired", "its acknowledgement has expired on 2026-01-31*Repair it now, or renew"),
    ],
)
def test_beyond_its_bound_or_its_date_a_slowdown_is_red(pytester, acknowledged, repository, values, state, message):
    repository(other=SLOWER)
    acknowledged(**values)
    result, document = judged(pytester, "-k", "other")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert row_of(document)["acknowledged"]["state"] == state
    assert document["outcome"]["status"] == 1
    assert list(document["outcome"]["failed"]) == ["suite/test_toy.py::test_revision[other]"]
    result.stdout.fnmatch_lines([f"E *is slower than at HEAD (*For the review: {message}*"])


def test_an_entry_that_the_other_revision_has_too_admits_nothing_more(pytester, acknowledged, repository):
    acknowledged()
    git(pytester, "add", "-A")
    commit(pytester, "with an entry")
    repository(other=SLOWER)
    result, document = judged(pytester, "-k", "other")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert row_of(document)["acknowledged"]["state"] == "spent"
    result.stdout.fnmatch_lines(["E *is slower than at HEAD (*it is for an earlier slowdown*Repair it, or change the*"])


def test_an_expired_entry_that_is_not_needed_can_be_deleted(pytester, acknowledged):
    acknowledged(expires="2026-01-31")
    git(pytester, "add", "-A")
    commit(pytester, "with an entry")
    result, document = judged(pytester, "-k", "other")
    assert result.ret == pytest.ExitCode.OK
    (entry,) = document["revision"]["acknowledged"]
    assert (entry["state"], entry["change"]) == ("expired", None)
    result.stdout.fnmatch_lines([f"{FILE}: the entry for *other* expired on 2026-01-31*can be deleted*"])


def test_an_entry_that_is_not_needed_is_listed_with_its_change(pytester, acknowledged):
    acknowledged()
    git(pytester, "add", "-A")
    commit(pytester, "with an entry")
    acknowledged(bound="40 %")
    _, document = judged(pytester, "-k", "other")
    (entry,) = document["revision"]["acknowledged"]
    assert (entry["state"], entry["change"]) == ("not needed", "changed")


def test_a_bisection_goes_by_the_verdict(pytester, acknowledged, repository):
    """It takes a benchmark that is slower and passes for one without a verdict."""
    repository(other=SLOWER)
    acknowledged()
    pytester.makeconftest("def pytest_gate_compares_work():\n    return False\n")
    result, document = judged(pytester, "-k", "other")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert row_of(document)["acknowledged"] is None


def test_fresh_processes_do_not_know_the_entries(pytester, acknowledged):
    acknowledged("[[slowdown")
    options = ["--against=HEAD", "--confirm=reference:toylib.case", "--alpha=0.001", "--gate-json=gate.json"]
    pytester.runpytest_inprocess(*options, "suite/test_toy.py::test_revision[steady]").assert_outcomes(passed=1)


def test_without_against_the_file_is_not_read(pytester, acknowledged):
    acknowledged("[[slowdown")
    pytester.runpytest_inprocess().assert_outcomes(passed=1, deselected=2)


# Memory


def peaks(*pairs):
    return [
        MemoryRow("m", "m.py::test_memory[a]", there * MIB, here * MIB, None, revision="HEAD") for there, here in pairs
    ]


@pytest.mark.parametrize(
    ("pairs", "state"),
    [
        ([(10, 18), (10, 19), (10, 18)], "admitted"),
        ([(10, 18), (10, 21), (10, 18)], "exceeded"),  # each pair has to be within the bound
        ([(10, 18), (10, 18), (10, 11)], None),
    ],
)
def test_memory(pairs, state):
    entry = Entry("test_memory[a]", 1.0, "it caches", DAY)
    known = Acknowledgements("file", DAY, (entry,), by_test={"m.py::test_memory[a]": entry})
    row = known.judged_memory(peaks(*pairs))
    assert (row.acknowledged and row.acknowledged.state) == state
    assert row.reasons == ((Reason.MORE_MEMORY,) if state == "exceeded" else ())


def test_memory_after_its_date():
    assert of_memory(ENTRY, "added", [1.01], ENTRY.expires + dt.timedelta(days=1)).state == "expired"
    assert of_memory(ENTRY, None, [1.01], ENTRY.expires).state == "spent"
