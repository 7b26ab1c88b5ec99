"""The section and the Markdown file have the same rows."""

import dataclasses
import json
import re
from types import SimpleNamespace

import pytest

from benchmarks.gate.judge.memory import MemoryRow
from benchmarks.gate.judge.rules import JudgedDuel, RevisionRow
from benchmarks.gate.measure.bets import Question
from benchmarks.gate.measure.duel import run_duel
from benchmarks.gate.report.findings import Findings, Note, Run
from benchmarks.gate.report.json_report import as_document, as_json
from benchmarks.gate.report.tables import markdown, terminal

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def duel():
    return run_duel(
        "toy test_speedup[a|b]",
        lambda: sum(range(20_000)),
        lambda: sum(range(2_000)),
        [Question("floor", 1.5, 1.5)],
        alpha=0.5,
        budget=0,
        seed=1,
    )


def test_empty_findings_are_false():
    assert not Findings()
    assert Findings(remarks=["something"])


def test_both_forms_have_every_row(duel):
    findings = Findings(
        duels=[
            JudgedDuel("a", duel, 1.5),
            JudgedDuel("b", dataclasses.replace(duel, name="other", note="short batches"), None, duel, "0001"),
        ],
        memory=[
            MemoryRow("toy test_memory", "a", 100 * MIB, 25 * MIB, 0.5),
            MemoryRow("toy test_more", "b", 100 * MIB, 75 * MIB, 0.5),
        ],
        unmeasured=["toy test_off"],
        notes=[Note("t", "rate", 2000, "images per second"), Note("u", "other", 1), Note("t", "CPU time", 0.093, "s")],
        titles={"t": "toy test_time", "u": "toy test_other"},
        remarks=["a remark"],
        results=["bench.json"],
    )
    section, file = "\n".join(terminal(findings, 200)), markdown(findings)
    for text in (section, file):
        for words in (
            "floor holds",
            "other: short batches",
            "a remark",
            "toy test_time: rate 2,000 images per second; CPU time 93 ms",
            "toy test_other: other 1",
            "25.0 MiB",
            "0.75",
            "ceilings: 1 hold, 1 broken",
            "measuring is off: both sides ran once, and nothing is judged, in duels: 1",
            "duels: 2; floors: 2 holds",
            "results: bench.json",
        ):
            assert words in text
    assert "toy test_speedup[a|b]" in section
    assert "toy test_speedup[a\\|b]" in file
    assert re.search(r"^\|:-+\|-+:\|", file, re.MULTILINE)


def test_an_undecided_duel_reports_the_proven_limits(duel):
    duel = dataclasses.replace(duel, answers={})
    duel.answers["floor"] = run_duel(
        "tie", lambda: None, lambda: None, [Question("floor", 1e9, 1e9)], alpha=0.5, budget=0, seed=1
    ).answers["floor"]
    duel.answers["floor"].verdict = "open"
    text = "\n".join(terminal(Findings(duels=[JudgedDuel("a", duel, 1e9)]), 200))
    assert "floor unproven" in text
    assert "nothing finer" in text


def test_json_has_the_id_and_the_title_of_each_test(duel):
    findings = Findings(
        compared=[RevisionRow("toy test_revision[a]", "test_toy.py::test_revision[a]", "HEAD", "new")],
        duels=[JudgedDuel("test_toy.py::test_speedup[a|b]", duel, 1.5)],
        memory=[MemoryRow("toy test_memory", "test_toy.py::test_memory", 100 * MIB, 25 * MIB, 0.5)],
    )
    revision = SimpleNamespace(name="HEAD", commit="0" * 40)
    settings = {"machine": {}, "alpha": 0.5, "seed": 1, "revision": revision, "saved_runs": []}
    document = json.loads(as_json(as_document(findings, run=Run("2026-11-27T12:00:00+00:00"), **settings)))
    rows = [*document["revision"]["benchmarks"], *document["duels"], *document["memory"]]
    assert [(row["test"], row["name"]) for row in rows] == [
        ("test_toy.py::test_revision[a]", "toy test_revision[a]"),
        ("test_toy.py::test_speedup[a|b]", "toy test_speedup[a|b]"),
        ("test_toy.py::test_memory", "toy test_memory"),
    ]
