"""The program that measures the gate's error rates live; test_simulated.py has those of the statistics alone."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from benchmarks.gate.calibration import cases, neighbours, other_tools, program, trials
from benchmarks.gate.calibration.cases import Calibrating, CasesError, unchanged
from benchmarks.gate.calibration.neighbours import NeighbourError, noisy_neighbours
from benchmarks.gate.calibration.program import Workload, main, split
from benchmarks.gate.calibration.results import Goal, limits
from benchmarks.gate.calibration.trials import ALPHA, Findings, Trial, mixed, sorting_subject
from benchmarks.gate.measure.duel import Duel

TINY = (Workload(sorting_subject("tiny", 3), 0.5, 0.5, 0.5), Workload(sorting_subject("small", 30), 0.5, 0.5, 0.5))
ANY = (Goal("anything", 0.1, 0.03, "slower", 0.0),)


@pytest.fixture
def started(monkeypatch):
    """The noisy neighbours that were started."""
    processes, popen = [], subprocess.Popen

    def spy(*arguments, **keywords):
        process = popen(*arguments, **keywords)
        if neighbours.__file__ in process.args:
            processes.append(process)
        return process

    monkeypatch.setattr(neighbours.subprocess, "Popen", spy)
    return processes


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(other_tools, "BLOCK", 0.25)
    monkeypatch.setattr(other_tools, "WARM_UP", 0.01)


def run(tmp_path, *options, **keywords):
    files = "--output", str(tmp_path / "new" / "c.md"), "--json", str(tmp_path / "c.json")
    counts = "--aa=2", "--trials=2", "--noise=1", "--other-tools=0", "--budget=0", "--seed=1"
    return main([*counts, *files, *options], **{"workloads": TINY, "goals": ANY, **keywords})


def test_a_tiny_run_measures_every_row(tmp_path, started, quick, capsys):
    status = run(tmp_path, "--aa=6", "--other-tools=2")
    saved = json.loads((tmp_path / "c.json").read_text())
    text = (tmp_path / "new" / "c.md").read_text()
    assert status == (0 if all(target["met"] for target in saved["targets"]) else 1)
    assert [trial["slowdown"] for trial in saved["trials"]].count(0.0) == 6
    assert all(trial["pairs"] >= 20 and trial["seconds"] > 0 for trial in saved["trials"])
    rows = re.findall(r"^\| (tiny|small) +\| [^|]+ \| +(\d+)% \| +(\d)% \| +(\d+) \|", text, re.MULTILINE)
    assert len(rows) == 2 * 7
    for subject, slowdown, tolerance, duels in rows:
        key = subject, int(slowdown) / 100, int(tolerance) / 100
        trials_of_row = [t for t in saved["trials"] if (t["subject"], t["slowdown"], t["tolerance"]) == key]
        assert len(trials_of_row) == int(duels) > 0
    assert sum(int(row[-1]) for row in rows) == len(saved["trials"]) == 6 + 2 * (1 + 1 + 1) + 2 * 3
    assert {other["rule"] for other in saved["others"]} | set(saved["not_installed"]) == set(other_tools.RULES)
    assert not re.search(r"\bnan\b", text)
    assert "not measured |" not in text
    output = capsys.readouterr().out
    assert "--seed 1" in output
    assert "the cases are left out: --select EXPRESSION" in output
    assert len(started) == 1
    assert started[0].poll() is not None


def test_the_same_seed_plans_the_same_run():
    rows = [["a"] * 30, ["b"] * 3]
    assert mixed(rows, 1) == mixed(rows, 1) != mixed(rows, 2)
    thirds = [mixed(rows, 1)[i : i + 11] for i in (0, 11, 22)]
    assert [third.count("b") for third in thirds] == [1, 1, 1]


def test_a_missed_target_is_the_exit_status(tmp_path, quick, capsys):
    unreachable = (Goal("unchanged detected", 0.0, 0.03, "slower", 1.0),)
    assert run(tmp_path, goals=unreachable) == 1
    assert "MISSED  unchanged detected, tiny" in capsys.readouterr().out
    assert "**missed**" in (tmp_path / "new" / "c.md").read_text()


def test_what_was_not_measured_is_missed(tmp_path, quick, capsys):
    assert run(tmp_path, "--trials=1") == 1  # which leaves none for the first of the two
    assert "MISSED  anything, tiny: not measured" in capsys.readouterr().out


def test_what_goes_wrong_with_a_case_is_missed(tmp_path, quick, capsys):
    assert run(tmp_path, "--select=x", cases=lambda *_: ["pytest ended with status 1"]) == 1
    assert "MISSED  every case ran: pytest ended with status 1" in capsys.readouterr().out


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), 130), (CasesError("no git"), 2)])
def test_an_end_before_the_end_leaves_no_process_and_no_file(tmp_path, started, quick, capsys, error, status):
    def cases(*_):
        assert [process.poll() for process in started] == [None, None]
        raise error

    assert run(tmp_path, "--noise=2", "--select=x", cases=cases) == status
    assert all(process.poll() is not None for process in started)
    assert "calibration: " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_neighbour_that_ends_early_is_an_error(tmp_path, started, quick, capsys):
    def cases(*_):
        started[0].kill()
        started[0].wait()
        return []

    assert run(tmp_path, "--select=x", cases=cases) == 2
    assert "1 of 1 noisy neighbours ended" in capsys.readouterr().err


def test_every_kind_of_neighbour_works_and_ends_by_itself(started):
    with noisy_neighbours(3, 1.5, seed=1):
        time.sleep(1.2)
        busy = [sum(psutil.Process(process.pid).cpu_times()[:2]) for process in started]
        assert [process.wait(20) for process in started] == [0, 0, 0]
        # Two cores for three of them, one of which pauses: some tenths of a second each, without start-up.
        assert all(seconds > 0.1 for seconds in busy)
        for process in started:
            process.returncode = None  # as if running: the test has seen that they ended
            process.poll = lambda: None


def test_neighbours_end_with_their_parent():
    code = """if True:
        import os
        from benchmarks.gate.calibration import neighbours
        block = neighbours.noisy_neighbours(3, 600, 1)
        block.__enter__()
        import psutil
        print(*[child.pid for child in psutil.Process().children()], flush=True)
        os._exit(1)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 3, done.stderr
    until = time.monotonic() + 20
    while any(map(psutil.pid_exists, pids)) and time.monotonic() < until:
        time.sleep(0.1)
    left = [pid for pid in pids if psutil.pid_exists(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


@pytest.mark.parametrize(
    "option",
    ["--noise=-1", "--aa=0", "--trials=x", "--budget=-1", "--budget=nan", "--case-seconds=inf", "--sed=1", "more"],
)
def test_bad_options_are_errors(option, capsys):
    with pytest.raises(SystemExit) as ended:
        main([option])
    assert ended.value.code == 2
    assert option.partition("=")[0] in capsys.readouterr().err


@pytest.mark.parametrize("total", [0, 1, 2, 3, 7, 100, 1000])
def test_split_loses_nothing_and_gives_each_a_part(total):
    counts = split(total, [workload.same for workload in program.WORKLOADS])
    assert sum(counts) == total
    assert all(count >= 1 for count in counts) or (total < 3 and min(counts) == 0)


def test_limits_are_those_of_the_tables():
    assert limits(0, 1000) == (0, pytest.approx(0.003682, abs=1e-6))
    assert limits(5, 10) == (pytest.approx(0.187086, abs=1e-6), pytest.approx(0.812914, abs=1e-6))
    assert limits(10, 10) == (pytest.approx(0.691503, abs=1e-6), 1)


def samples(call, factor=1.0):
    return list(factor * call * np.random.default_rng(5).normal(1, 0.005, 4000))


@pytest.mark.parametrize(
    ("rule", "module", "passes", "flagged"),
    [
        (other_tools.pytest_benchmark_rule, "pytest_benchmark", 1.04, 1.06),
        (other_tools.pyperf_rule, "pyperf", 0.9, 1.02),
        (other_tools.asv_rule, "asv", 1.08, 1.15),
    ],
)
def test_the_other_tools_rules_agree_with_the_tools(rule, module, passes, flagged):
    pytest.importorskip(module)
    assert rule(samples(0.005), samples(0.005, passes)) == (False, pytest.approx(passes, rel=1e-3))
    assert rule(samples(0.005), samples(0.005, flagged)) == (True, pytest.approx(flagged, rel=1e-3))


def test_samples_are_cut_as_the_tools_cut_them():
    assert other_tools.grouped([0.004] * 100, 0.01, 10) == ([pytest.approx(0.004)] * 10, 3)
    assert other_tools.grouped([0.5] * 3, 0.1, 20) == ([0.5] * 3, 1)
    assert len(other_tools.first_second([0.01] * 500)) == pytest.approx(100, abs=1)
    assert other_tools.first_second([2.0] * 20) == [2.0] * 5


def test_a_missing_tool_is_reported(tmp_path, quick, monkeypatch):
    def missing(*_):
        raise ImportError

    monkeypatch.setitem(other_tools.RULES, "pyperf, `compare_to`", missing)
    run(tmp_path, "--other-tools=1")
    assert "- pyperf, `compare_to`: not installed, not measured" in (tmp_path / "new" / "c.md").read_text()


CASE = """
from benchmarks.gate.judge.rules import revision_questions
from benchmarks.gate.measure.workloads import sorting
from benchmarks.gate.plugin.session import SESSION

def check(reference, candidate):
    assert reference == candidate

def run_duel(request, name):
    works = sorting(3), sorting(3)
    return request.config.stash[SESSION].runner(
        name, *works, revision_questions(0.03, 0.1), alpha=0.001, budget=1, seed=1, check=check)

def test_revision(request):
    assert run_duel(request, "toy test_revision[fast]").pairs > 0

def test_control(request):
    assert run_duel(request, "control").pairs > 0
"""


@pytest.fixture
def toy(pytester, request):
    def run(*options, **more):
        pytester.makepyfile(test_toy=CASE)
        findings = Findings()
        settings = {"budget": 0.0, "case_seconds": 3.0, "targets_only": False, "noise": 3, **more}
        plugin = Calibrating(findings, {}, SimpleNamespace(**settings), seed=1)
        return findings, pytester.runpytest_inprocess("-p", "no:cacheprovider", *options, plugins=[plugin])

    return run


def test_a_cases_own_benchmark_is_calibrated(toy, monkeypatch):
    monkeypatch.setattr(cases, "OTHER_TOOLS", 0)
    monkeypatch.setattr("pytest_benchmark.plugin.get_cpu_info", dict)
    findings, result = toy("-p", "benchmarks.gate.plugin")
    result.assert_outcomes(passed=2)
    assert findings.subjects == ["toy test_revision[fast]"]  # and not the control
    assert {trial.slowdown for trial in findings.trials} == {0.0, *trials.SLOWDOWNS}
    assert 3 <= findings.seconds < 9


@pytest.mark.parametrize(("noise", "slowdown"), [(3, (0.03, 0.03)), (0, trials.TIGHT)], ids=["noisy", "quiet"])
def test_a_case_is_calibrated_by_its_target_alone(toy, monkeypatch, noise, slowdown):
    monkeypatch.setattr(cases, "TARGET", 5)
    monkeypatch.setattr("pytest_benchmark.plugin.get_cpu_info", dict)
    findings, _ = toy("-p", "benchmarks.gate.plugin", targets_only=True, noise=noise, case_seconds=30)
    rows = Counter((trial.slowdown, trial.tolerance) for trial in findings.trials)
    assert rows == {(0.0, 0.03): 5, slowdown: 5}


@pytest.mark.parametrize(("found", "met"), [(38, True), (37, False)])
def test_a_target_of_a_case_is_95_per_cent(found, met):
    duels = [Trial("case", 0.03, 0.03, "slower" if i < found else "same", 20, 1.0 + i, 0.97, 0.01) for i in range(40)]
    calibrated = program.Calibration("", {}, 3, 30.0, 1, (), [], [], cases=Findings(duels))
    target = calibrated.targets()[-1]
    assert (target.name, target.wanted, target.met) == ("slowdown of 3 % detected, case", "95%", met)
    assert target.measured.startswith(f"{found} of 40 (")
    assert target.measured.endswith("median 20.5 s, at most 40.0 s")


def test_a_gate_without_the_hook_is_an_error(toy):
    findings, result = toy()
    assert result.ret not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    assert "unknown hook 'pytest_gate_runner'" in result.stdout.str() + result.stderr.str()
    assert not findings.trials


def test_cases_are_only_calibrated_where_nothing_changed(tmp_path):
    def git(*command):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True, capture_output=True)

    with pytest.raises(CasesError, match="not the same as at HEAD"):
        unchanged(tmp_path)  # in no repository
    git("init", "--quiet")
    (tmp_path / "impl").mkdir()
    (tmp_path / "impl" / "x.py").write_text("1")
    with pytest.raises(CasesError, match=r"impl/. Commit, or drop --select"):
        unchanged(tmp_path)
    git("add", ".")
    git("-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "--quiet", "-m", "x")
    unchanged(tmp_path)


def test_the_duels_alpha_is_that_of_a_run_of_twenty():
    assert pytest.approx(0.001 / 20) == ALPHA
    with pytest.raises(NeighbourError), noisy_neighbours(1, 0.0, 1):
        time.sleep(1)


def test_a_coin_decides_which_side_is_the_candidate(monkeypatch):
    one, other = (lambda: 1), (lambda: 1)
    references = []

    def run_duel(name, reference, *_arguments, **_keywords):
        references.append(reference)
        return Duel.unmeasured(name)

    monkeypatch.setattr(trials, "run_duel", run_duel)
    subject = trials.Subject("toy", lambda: (one, other))
    trials.measure([trials.Job(subject)] * 20, trials.Findings(), {}, budget=0, seed=1)
    assert {reference.work is one for reference in references} == {True, False}
