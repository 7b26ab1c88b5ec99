"""The section and the Markdown file have the same rows."""

import dataclasses

import pytest

from benchmarks.gate.judge.rules import Judged, Memory
from benchmarks.gate.measure.duel import Question, fight
from benchmarks.gate.report.tables import Report

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def duel():
    return fight(
        "toy test_speedup[a|b]",
        lambda: sum(range(20_000)),
        lambda: sum(range(2_000)),
        [Question("floor", 1.5, 1.5)],
        alpha=0.5,
        budget=0,
        seed=1,
    )


def test_an_empty_report_is_false():
    assert not Report()
    assert Report(notes=["something"])


def test_both_forms_have_every_row(duel):
    report = Report(
        duels=[
            Judged(duel, 1.5),
            Judged(dataclasses.replace(duel, name="other", note="short batches"), None, duel, "0001"),
        ],
        memory=[
            Memory("toy test_memory", "a", 100 * MIB, 25 * MIB, 0.5),
            Memory("toy test_more", "b", 100 * MIB, 75 * MIB, 0.5),
        ],
        unmeasured=["toy test_off"],
        notes=["a note"],
        results=["bench.json"],
    )
    terminal, markdown = "\n".join(report.terminal()), report.markdown()
    for text in (terminal, markdown):
        for words in (
            "floor holds",
            "other: short batches",
            "a note",
            "25.0 MiB",
            "0.75",
            "ceilings: 1 hold, 1 broken",
            "measuring is off: both sides ran once, and nothing is judged, in duels: 1",
            "duels: 2; floors: 2 holds",
            "results: bench.json",
        ):
            assert words in text
    assert "toy test_speedup[a|b]" in terminal
    assert "toy test_speedup[a\\|b]" in markdown
    assert "| --- | ---: |" in markdown


def test_an_undecided_duel_says_what_could_be_told(duel):
    duel = dataclasses.replace(duel, answers={})
    duel.answers["floor"] = fight(
        "tie", lambda: None, lambda: None, [Question("floor", 1e9, 1e9)], alpha=0.5, budget=0, seed=1
    ).answers["floor"]
    duel.answers["floor"].verdict = "open"
    text = "\n".join(Report(duels=[Judged(duel, 1e9)]).terminal())
    assert "floor unproven" in text
    assert "nothing finer" in text
