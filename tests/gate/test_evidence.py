"""--evidence FILE: a run continues what an earlier one has left, and nothing else."""

import importlib.metadata
import json
import subprocess

import pytest

from benchmarks.gate.compare.confirm import Confirmation
from benchmarks.gate.compare.evidence import Evidence, EvidenceError, Kept, environment, working_tree
from benchmarks.gate.measure.evidence import Part, Times
from benchmarks.gate.measure.order import OrderEffects

from .toy_suite import SELFCHECKS, SUITE, commit, git, refused

PART = Part(1, 1, 1.0, [Times(1.0, 1.0, 1.0, 1.0)] * 3)


@pytest.fixture
def file(pytester):
    return pytester.path / "kept/evidence.json"


def gate(pytester, file, *options, test="other"):
    """Run one row of the toy suite; return the result and the row."""
    report = pytester.path / "gate.json"
    options = [f"--evidence={file}", f"--gate-json={report}", "--duel-seed=1", "-k", test, *options]
    result = pytester.runpytest_inprocess("--against=HEAD", *options)
    (row,) = json.loads(report.read_text())["revision"]["benchmarks"]
    report.unlink()
    return result, row


def test_a_second_run_continues_the_first(pytester, repository, file, monkeypatch):
    # Times as irregular as these may look as if their order mattered, and then pairs are counted from the beginning.
    monkeypatch.setattr(OrderEffects, "hide", lambda *_: False)
    (pytester.path / ".gitignore").write_text("kept\ngate.json\n__pycache__\n.pytest_cache\n.benchmarks\n")
    # By CPU time, of which a sleep takes next to nothing, the first run was decided once.
    repository(
        other="time.sleep(__import__('random').choice((0.002, 0.006)))",
        benchmarks=SUITE.replace("@pytest", '@pytest.mark.gate(clock="wall")\n@pytest', 1),
    )
    commit(pytester, "by wall time")  # or the work of the benchmark would be compared in each run
    _, first = gate(pytester, file, "--budget=0.3")
    assert first["verdict"] == "inconclusive"
    _, second = gate(pytester, file, "--budget=0.3")
    assert second["duel"]["pairs"] > first["duel"]["pairs"]
    assert second["duel"]["seconds"] > first["duel"]["seconds"]
    assert second["duel"]["seed"] != first["duel"]["seed"]
    (comparison,) = json.loads(file.read_text())["comparisons"]
    ((key, kept),) = comparison["duels"].items()
    assert key.startswith("suite/test_toy.py::test_revision[other] ")
    assert sum(len(part["pairs"]) for part in kept["parts"]) >= second["duel"]["pairs"]
    # Another file of the working tree, another candidate: nothing of the other one's counts.
    (pytester.path / "more.py").touch()
    _, third = gate(pytester, file, "--budget=0")
    assert len(json.loads(file.read_text())["comparisons"]) == 2
    assert third["duel"]["seed"] == first["duel"]["seed"]


def test_what_is_decided_is_not_measured_again(pytester, repository, file):
    (pytester.path / ".gitignore").write_text("kept\ngate.json\nbuilt.txt\n__pycache__\n.pytest_cache\n.benchmarks\n")
    noting = "\ndef built(work):\n    with open('built.txt', 'a') as file:\n        file.write('x')\n    return work\n"
    repository(benchmarks=SUITE.replace("lambda work: work", "built") + noting)
    commit(pytester, "noting")  # or the work of the benchmark would be compared in each run
    _, first = gate(pytester, file)
    assert first["verdict"] == "same"
    built = (pytester.path / "built.txt").read_text()
    result, second = gate(pytester, file)
    result.assert_outcomes(passed=1 + SELFCHECKS, deselected=2)
    assert second["duel"] == first["duel"]
    assert (pytester.path / "built.txt").read_text() == built
    # Another tolerance is another question.
    gate(pytester, file, "--tolerance=4")
    assert len((pytester.path / "built.txt").read_text()) == 2 * len(built)


def test_fresh_processes_are_asked_once(pytester, repository, file, monkeypatch):
    (pytester.path / ".gitignore").write_text("kept\ngate.json\n__pycache__\n.pytest_cache\n.benchmarks\n")
    repository(other="time.sleep(0.006)")
    asked = []

    def confirm(*_):
        asked.append(1)
        return confirmed

    confirmed = Confirmation(("same", "same", "same"))
    monkeypatch.setattr("benchmarks.gate.plugin.against.confirm", confirm)
    for _ in range(2):
        _, row = gate(pytester, file)
        assert row["verdict"] == "inconclusive"
        assert "in 0 of 3 fresh processes" in row["note"]
    assert asked == [1]


def test_a_kept_slowdown_is_slower_again_and_was_profiled_then(pytester, repository, file, monkeypatch):
    repository(other="time.sleep(0.006)")
    monkeypatch.setattr("benchmarks.gate.plugin.against.confirm", lambda *_: Confirmation(("slower",) * 3))
    first, second = (gate(pytester, file)[1] for _ in range(2))
    assert first["verdict"] == second["verdict"] == "slower"
    assert second["duel"] == first["duel"]
    assert first["profile"]
    assert not second["profile"]
    assert second["unprofiled"] == "both sides were measured by an earlier run"


def test_a_comparison_is_known_by_both_trees_and_the_environment(tmp_path, pytester, repository, monkeypatch):
    path = tmp_path / "evidence.json"
    first = Evidence.open(path, pytester.path, "abc")
    first.keep("test", (0.1,), Kept((PART,), ("slower",)))
    again = Evidence.open(path, pytester.path, "abc")
    assert again.of("test", (0.1,)) == Kept((PART,), ("slower",))
    assert again.of("test", (0.2,)) == again.of("other", (0.1,)) == Kept()
    assert Evidence.open(path, pytester.path, "abd").of("test", (0.1,)) == Kept()
    monkeypatch.setattr("benchmarks.gate.compare.evidence.platform.python_version", lambda: "3.99.0")
    assert Evidence.open(path, pytester.path, "abc").of("test", (0.1,)) == Kept()


def test_other_comparisons_stay_in_the_file(tmp_path, pytester, repository):
    path = tmp_path / "evidence.json"
    for reference in ("abc", "abd", "abc"):
        Evidence.open(path, pytester.path, reference).keep("test", (), Kept((PART,)))
    comparisons = json.loads(path.read_text())["comparisons"]
    assert sorted(found["comparison"]["reference"] for found in comparisons) == ["abc", "abd"]
    assert [file.name for file in tmp_path.iterdir()] == ["evidence.json"]


def test_a_working_tree_is_its_files_committed_or_not(pytester, repository):
    before = working_tree(pytester.path)
    (pytester.path / "toylib/more.py").write_text("MORE = 1\n")
    changed = working_tree(pytester.path)
    assert changed != before
    staged = subprocess.run(
        ["git", "diff", "--cached", "--name-only"], cwd=pytester.path, check=True, capture_output=True
    )
    assert staged.stdout == b""  # the user's index is left alone
    assert working_tree(pytester.path / "toylib") == changed
    git(pytester, "add", "-A")
    commit(pytester, "more")
    assert working_tree(pytester.path) == changed
    (pytester.path / "__pycache__").mkdir()
    (pytester.path / "__pycache__/ignored").touch()
    assert working_tree(pytester.path) == changed
    status = subprocess.run(["git", "status", "--porcelain"], cwd=pytester.path, capture_output=True, check=True)
    assert not status.stdout, "the user's own index is changed"


def test_an_environment_is_the_versions_of_everything(monkeypatch):
    before = environment()
    assert environment() == before
    found = list(importlib.metadata.distributions())
    monkeypatch.setattr("benchmarks.gate.compare.evidence.importlib.metadata.distributions", lambda: found[1:])
    assert environment() != before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 2, "comparisons": []}',
        '{"version": 1}',
        '{"version": 1, "comparisons": [{}]}',
        '{"version": 1, "comparisons": 3}',
    ],
)
def test_a_damaged_file_is_refused(pytester, repository, file, text):
    file.parent.mkdir()
    file.write_text(text)
    message = refused(pytester, "--against=HEAD", f"--evidence={file}")
    assert "--evidence: " in message
    assert str(file) in message
    assert file.read_text() == text


def test_a_damaged_part_is_refused(tmp_path, pytester, repository):
    path = tmp_path / "evidence.json"
    Evidence.open(path, pytester.path, "abc").keep("test", (), Kept((PART,)))
    path.write_text(path.read_text().replace('"iterations": 1', '"iterations": 0'))
    with pytest.raises(EvidenceError, match=r"evidence\.json is damaged.*Delete it to begin anew"):
        Evidence.open(path, pytester.path, "abc")


def test_evidence_without_a_comparison(pytester, repository, file):
    assert "--evidence is that of a comparison: add --against" in refused(pytester, f"--evidence={file}")
