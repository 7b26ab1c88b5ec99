"""Which functions grew, between two works and in the report of a slower revision."""

import cProfile
import importlib
import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import groupby
from pathlib import Path

import jsonschema
import pytest
import torch  # a process can import it only once, and pytester would forget that

from benchmarks.gate.compare.confirm import Confirmation
from benchmarks.gate.judge.rules import RevisionRow
from benchmarks.gate.measure import profile
from benchmarks.gate.measure.duel import run_duel
from benchmarks.gate.measure.profile import Growth, ProfileError, Profiler
from benchmarks.gate.report import json_report
from benchmarks.gate.report.findings import Findings
from benchmarks.gate.report.tables import markdown, terminal
from benchmarks.gate.report.words import revision_failure


@pytest.fixture
def short(monkeypatch):
    """Shorten the profiles, and hide torch."""
    monkeypatch.setattr(profile, "FUNCTIONS", (0.1, 4))
    monkeypatch.delitem(sys.modules, "torch")


def growth(reference, candidate, **options):
    """Profile two works in this process."""
    return profile.growth(Profiler(reference, **options), Profiler(candidate, **options))


def spin(rounds):
    for _ in range(rounds):
        pass


def steady():
    spin(5_000)


def changed(rounds):
    for _ in range(rounds):
        pass


def calling(function, times, *arguments):
    def work():
        for _ in range(times):
            function(*arguments)

    return work


def row(grown, start):
    (found,) = (each for each in grown if each.function.startswith(start))
    return found


def test_the_function_that_became_three_times_slower_is_first(short):
    def reference():
        steady()
        changed(10_000)

    def candidate():
        steady()
        changed(30_000)

    grown = growth(reference, candidate)
    assert re.fullmatch(r"changed \(.*test_profile\.py\)", grown[0].function)
    assert grown[0].candidate_seconds > 2 * grown[0].reference_seconds > 0
    assert [each.seconds for each in grown] == sorted((each.seconds for each in grown), reverse=True)


def test_calls_are_per_call_of_the_work(short):
    found = row(growth(calling(spin, 2, 100), calling(spin, 4, 100)), "spin")
    assert (found.reference_calls, found.candidate_calls) == (2, 4)
    assert 0 < found.reference_seconds < 0.01


def test_time_is_without_what_is_called(short):
    def waits():
        time.sleep(0.002)

    grown = growth(waits, waits)
    assert row(grown, "test_time_is_without").candidate_seconds < 0.001
    found = row(grown, "built-in method time.sleep in test_time_is_without")
    assert found.candidate_seconds > 0.0019
    assert found.candidate_calls == 1


def test_a_built_in_function_has_a_row_for_each_function_that_calls_it(short):
    def one():
        return sorted([2, 1])

    def other():
        return sorted([2, 1]), sorted([1])

    def reference():
        one(), other()

    def candidate():
        one(), other(), other()

    grown = [each for each in growth(reference, candidate) if "builtins.sorted" in each.function]
    calls = {
        each.function.split()[-2].rpartition(".")[2]: (each.reference_calls, each.candidate_calls) for each in grown
    }
    assert calls == {"one": (1, 1), "other": (2, 4)}


def test_nothing_of_the_profiler_is_listed(short):
    assert {each.function.partition(" ")[0] for each in growth(steady, steady)} == {"steady", "spin"}


def test_functions_that_only_one_side_has(short):
    grown = growth(calling(spin, 1, 2_000), calling(changed, 1, 2_000))
    new, gone = row(grown, "changed"), row(grown, "spin")
    assert (new.reference_seconds, new.reference_calls, new.candidate_calls) == (0, 0, 1)
    assert (gone.candidate_seconds, gone.candidate_calls, gone.reference_calls) == (0, 0, 1)
    assert grown.index(new) < grown.index(gone)


TOY = """
class Counter:
    def count(self, rounds):
        for _ in range(rounds):
            pass
"""


def test_functions_of_two_trees_are_matched_though_alias_and_lines_differ(short, tmp_path, monkeypatch):
    for folder, package, text in (("here", "toypackage", TOY), ("there", "toypackage_at_0123", "\n\n" + TOY)):
        case = tmp_path / folder / package / "case"
        case.mkdir(parents=True)
        (case / "__init__.py").write_text(text)
        (case / "more.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path / folder)
    names = [f"{package}.case{module}" for package in ("toypackage_at_0123", "toypackage") for module in ("", ".more")]
    there, there_more, here, here_more = (importlib.import_module(name).Counter().count for name in names)
    grown = growth(
        lambda: (there(1_000), there_more(1_000)), lambda: (here(1_000), here_more(1_000)), suffix="_at_0123"
    )
    for name in [name for name in sys.modules if name.startswith("toypackage")]:
        del sys.modules[name]
    calls = {each.function: (each.reference_calls, each.candidate_calls) for each in grown}
    assert calls["Counter.count (toypackage/case/__init__.py)"] == (1, 1)
    assert calls["Counter.count (toypackage/case/more.py)"] == (1, 1)


def test_both_sides_are_called_equally_often_and_in_turns(short, monkeypatch):
    monkeypatch.setattr(profile, "FUNCTIONS", (0.4, 4))
    order = []
    growth(lambda: order.append("reference"), lambda: (order.append("candidate"), time.sleep(0.001)))
    turns = [len(list(calls)) for _, calls in groupby(order)]
    assert len(turns) == 2 * (1 + 4)  # one call each without a profiler, then four turns
    assert turns[::2] == turns[1::2]


def test_long_work_is_called_twice(short, monkeypatch):
    monkeypatch.setattr(profile, "FUNCTIONS", (0.001, 4))
    order = []
    growth(lambda: order.append("reference"), lambda: (order.append("candidate"), time.sleep(0.002)))
    assert Counter(order) == {"reference": 2, "candidate": 2}


def fails_after(calls):
    left = iter(range(calls))

    def work():
        spin(10)
        if next(left, None) is None:
            raise OSError("disk")

    return work


@pytest.mark.parametrize("calls", [0, 1], ids=["at once", "under the profiler"])
@pytest.mark.parametrize("side", ["reference", "candidate"])
def test_a_side_that_raises(short, calls, side):
    sides = {"reference": steady, "candidate": steady, side: fails_after(calls)}
    with pytest.raises(ProfileError, match=r"^OSError: disk$"):
        growth(**sides)
    assert sys.getprofile() is None
    assert threading.getprofile() is None
    assert growth(steady, steady)  # nothing is left of the profiler


def test_work_that_no_profiler_sees(short):
    with pytest.raises(ProfileError, match="no function that a profiler sees"):
        growth(int, int)


def test_outer_tracer_and_profiler_are_paused_and_stay(short):
    seen = []

    def note(frame, event, argument):
        seen.append(frame.f_code.co_name)

    before = sys.gettrace(), sys.getprofile(), threading.getprofile()
    sys.settrace(note), sys.setprofile(note), threading.setprofile(note)
    try:
        growth(steady, steady)
        after = sys.gettrace(), sys.getprofile(), threading.getprofile()
    finally:
        sys.settrace(before[0]), sys.setprofile(before[1]), threading.setprofile(before[2])
    assert after == (note, note, note)
    assert seen
    assert "steady" not in seen


def test_an_outer_cprofile_goes_on(short):
    outer = cProfile.Profile()
    outer.enable()
    try:
        with pytest.raises(ProfileError, match="profil"):
            growth(steady, steady)
        spin(1)
    finally:
        outer.disable()
    assert "spin" in {getattr(entry.code, "co_name", "") for entry in outer.getstats()}


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="cProfile takes the calls of all threads for those of one")
def test_threads_that_the_work_starts_are_included(short):
    def work(threads):
        def run():
            started = [threading.Thread(target=changed, args=(3_000,)) for _ in range(threads)]
            for thread in started:
                thread.start()
            for thread in started:
                thread.join()

        return run

    found = row(growth(work(1), work(2)), "changed")
    assert (found.reference_calls, found.candidate_calls) == (1, 2)
    assert found.reference_seconds > 0


def test_torch_operators_where_torch_is_imported(monkeypatch):
    monkeypatch.setattr(profile, "FUNCTIONS", (0.02, 2))
    monkeypatch.setattr(profile, "OPERATORS", (0.02, 2))
    matrix = torch.ones(64, 64)
    grown = growth(lambda: matrix @ matrix, lambda: matrix @ matrix @ matrix)
    found = row(grown, "aten::mm")
    assert (found.reference_calls, found.candidate_calls) == (1, 2)
    assert 0 < found.reference_seconds < 0.1
    assert row(grown, "test_torch_operators_where_torch_is_imported.<locals>.<lambda>")
    assert not [each for each in growth(steady, steady) if each.function.startswith("aten::")]


def test_torch_is_not_imported_for_the_profile(short):
    growth(steady, steady)
    assert "torch" not in sys.modules


# In the report


@pytest.fixture(scope="module")
def slower():
    duel = run_duel("toy", lambda: spin(2_000), lambda: spin(4_000), [], alpha=0.5, budget=0, seed=1)
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
    assert f"toy test_revision[a]: {text}" in list(terminal(findings))
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

INI = """
[pytest]
addopts = -p pytest_benchmark.plugin -p benchmarks.gate.plugin --benchmark-storage=file://saved
filterwarnings = error
pythonpath = .
testpaths = suite
"""

CASE = """
import time

def helper(seconds):
    time.sleep(seconds)

def work():
    helper(0.002)
    helper({seconds})

VARIANTS = {{"only": work}}
"""

SUITE = """
def equal(expected, found):
    assert expected == found

def test_revision(against):
    against("toylib.case", "only", lambda work: work, check=equal)
"""


@pytest.fixture
def slowed_commit(pytester, monkeypatch, request, quick_self_checks):
    """A repository whose second commit is slower than its first."""
    monkeypatch.setattr("pytest_benchmark.plugin.get_cpu_info", dict)  # it takes a second
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    pytester.makeini(INI)
    pytester.mkpydir("toylib")
    for folder in ("toylib/case", "suite"):
        (pytester.path / folder).mkdir()
    (pytester.path / "suite/test_toy.py").write_text(SUITE)
    (pytester.path / ".gitignore").write_text("__pycache__\n.pytest_cache\n.benchmarks\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "-q"], cwd=pytester.path, check=True)
    for seconds in (0.001, 0.003):
        (pytester.path / "toylib/case/__init__.py").write_text(CASE.format(seconds=seconds))
        subprocess.run([*git, "add", "-A"], cwd=pytester.path, check=True)
        subprocess.run([*git, "commit", "-qm", "a commit"], cwd=pytester.path, check=True)


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
