"""The profiles of both sides, in messages and tables and in runs against another revision."""

import json
from pathlib import Path

import jsonschema
import pytest

from benchmarks.gate.compare.confirm import Confirmation
from benchmarks.gate.judge.rules import RevisionRow
from benchmarks.gate.measure.duel import run_duel
from benchmarks.gate.measure.profile import Growth, ProfileError
from benchmarks.gate.report import json_report
from benchmarks.gate.report.findings import Findings
from benchmarks.gate.report.tables import markdown, terminal
from benchmarks.gate.report.words import revision_failure

from .toy_suite import commit

# In the report


@pytest.fixture(scope="module")
def slower():
    duel = run_duel("toy", lambda: sum(range(2_000)), lambda: sum(range(4_000)), [], alpha=0.5, budget=0, seed=1)
    return RevisionRow("toy test_revision[a]", "test_toy.py::test_revision[a]", "HEAD", "slower", duel)


def with_growth(slower, *milliseconds):
    grown = [
        Growth(f"f{n} (toy|lib/<case>.py)", 0.001, 0.001 + ms / 1e3, 1, n + 1.5) for n, ms in enumerate(milliseconds)
    ]
    return RevisionRow(**{**vars(slower), "growth": tuple(grown)})


def test_a_message_names_the_five_that_grew_most(slower):
    text = revision_failure(with_growth(slower, 1234, 600, 500, 400, 300, 200), strict=False)
    first, *functions = text.splitlines()[1:]
    assert first.startswith("What grew, per call of the work")
    assert functions[0] == "  f0 (toy|lib/<case>.py): 1.000 ms there, 1,235.000 ms here; calls: 1 there, 1.5 here"
    assert len(functions) == 5


def test_a_message_leaves_out_what_did_not_grow_or_hardly(slower):
    text = revision_failure(with_growth(slower, 10, 0.6, 0.4, -0.2), strict=False)
    assert [line.split()[0] for line in text.splitlines()[2:]] == ["f0", "f1"]
    assert revision_failure(with_growth(slower, 0, -1), strict=False).endswith(
        "No function grew in the profile of both sides."
    )


def test_a_message_without_a_profile_says_why(slower):
    text = "There is no profile of both sides: OSError: disk"
    unprofiled = RevisionRow(**{**vars(slower), "unprofiled": "OSError: disk"})
    assert revision_failure(unprofiled, strict=False).splitlines()[1:] == [text]
    findings = Findings(compared=[unprofiled])
    assert f"toy test_revision[a]: {text}" in list(terminal(findings, 200))
    assert f"- toy test_revision[a]: {text}\n" in markdown(findings)
    assert "\n" not in revision_failure(slower, strict=False)


def test_markdown_has_a_collapsed_table_of_what_changed_most(slower):
    lines = markdown(Findings(compared=[with_growth(slower, *range(25, 2, -1), -24)])).splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("<details><summary>toy test_revision[a]: "))
    end = lines.index("</details>")
    assert lines[start + 1] == lines[end - 1] == ""
    cells = [
        [cell.strip() for cell in line.replace(r"\|", "!").strip("|").split("|")] for line in lines[start + 2 : end - 1]
    ]
    assert cells[0] == ["function", "ms there", "ms here", "calls there", "calls here"]
    assert cells[2] == ["`f0 (toy!lib/<case>.py)`", "1.000", "26.000", "1", "1.5"]
    assert cells[-1][2] == "-23.000"
    assert len(cells) == 2 + 20
    assert "<details>" not in markdown(Findings(compared=[slower]))


# In a run


CASE = """
import time

def helper(seconds):
    time.sleep(seconds)

def work():
    helper(0.002)
    helper({other})

VARIANTS = {{"only": work}}
"""

SUITE = """
def equal(expected, found):
    assert expected == found

def test_revision(against):
    against("toylib.case", "only", lambda work: work, check=equal)
"""


@pytest.fixture
def slowed_commit(pytester, repository):
    """A repository whose last commit is slower than the one before."""
    for seconds in (0.001, 0.003):
        repository(other=seconds, text=CASE, benchmarks=SUITE)
        commit(pytester, f"{seconds} s")


def gated(pytester):
    result = pytester.runpytest_inprocess(
        "--against=HEAD~1", "--duel-seed=1", "--gate-json=gate.json", "--gate-report=gate.md"
    )
    document = json.loads((pytester.path / "gate.json").read_text())
    jsonschema.validate(document, json.loads(Path(json_report.__file__).with_name("gate.schema.json").read_text()))
    (found,) = document["revision"]["benchmarks"]
    assert found["verdict"] == "slower"
    return result, found


def test_a_slower_commit_is_profiled(pytester, slowed_commit):
    result, found = gated(pytester)
    name = "built-in method time.sleep in helper (toylib/case/__init__.py)"
    result.stdout.fnmatch_lines(
        [
            "E *toy test_revision is slower than at HEAD~1 *",
            "E *What grew, per call of the work*",
            f"E *{name}: * ms there, * ms here; calls: 2 there, 2 here",
        ]
    )
    assert found["unprofiled"] == ""
    first = found["profile"][0]
    assert (first["function"], first["reference_calls"], first["candidate_calls"]) == (name, 2, 2)
    assert first["candidate_seconds"] - first["reference_seconds"] > 0.001
    assert f"| `{name}` " in (pytester.path / "gate.md").read_text()


def test_a_slower_commit_without_a_profile_stays_slower(pytester, slowed_commit, monkeypatch):
    def refuse(*_sides, **_options):
        raise ProfileError("OSError: disk")

    monkeypatch.setattr("benchmarks.gate.plugin.against.growth", refuse)
    result, found = gated(pytester)
    result.stdout.fnmatch_lines(
        [
            "E *toy test_revision is slower than at HEAD~1 *",
            "E *There is no profile of both sides: OSError: disk",
            "toy test_revision: There is no profile of both sides: OSError: disk",
        ]
    )
    assert (found["profile"], found["unprofiled"]) == ([], "OSError: disk")


def test_what_a_fresh_process_does_not_confirm_is_not_profiled(pytester, slowed_commit, monkeypatch):
    unconfirmed = Confirmation(("same", "same", "same"))
    monkeypatch.setattr("benchmarks.gate.plugin.against.confirm", lambda *_: unconfirmed)
    pytester.runpytest_inprocess("--against=HEAD~1", "--duel-seed=1", "--gate-json=gate.json")
    (found,) = json.loads((pytester.path / "gate.json").read_text())["revision"]["benchmarks"]
    assert (found["verdict"], found["profile"], found["unprofiled"]) == ("inconclusive", [], "")
