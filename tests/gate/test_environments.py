"""Dependencies differ: each side runs in a process and an environment of its own, made of its own tree's lock."""

import gc
import json
import sys
from pathlib import Path

import jsonschema
import pytest

from benchmarks.gate.compare import side_process
from benchmarks.gate.measure.duel import recall, run_duel
from benchmarks.gate.measure.evidence import Part, Times
from benchmarks.gate.plugin.session import CANARY, CONTROL
from benchmarks.gate.report import json_report

from .toy_dependency import AS_FAST, BENCHMARKS, CASE, CHANGED, FAST, SLOW, against, verdicts
from .toy_suite import SELFCHECKS, commit, git, refused


@pytest.mark.serial
def test_another_version_that_is_as_fast(pytester, bump, cache):
    bump(AS_FAST)
    result, revision = against(pytester, "--gate-report=gate.md")
    result.assert_outcomes(passed=2 + SELFCHECKS, deselected=1)
    result.stdout.fnmatch_lines([f"gate: {CHANGED}", CHANGED])
    assert f"- {CHANGED}\n" in (pytester.path / "gate.md").read_text()
    assert verdicts(revision) == {"steady": "same", "other": "same"}
    found = revision["environments"]
    assert (found["compared"], found["differs"]) == (True, ["requirements.lock"])
    assert found["packages"] == [{"name": "slowlib", "reference": "1", "candidate": "3"}]
    schema = json.loads(Path(json_report.__file__).with_name("gate.schema.json").read_text())
    jsonschema.validate(json.loads((pytester.path / "gate.json").read_text()), schema)
    assert len(list((cache / "environments").iterdir())) == 2


@pytest.mark.serial
def test_a_slower_version_is_found_and_confirmed_by_fresh_pairs_of_processes(pytester, bump):
    bump(SLOW)
    result, revision = against(pytester)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1 + SELFCHECKS, failed=1, deselected=1)
    result.stdout.fnmatch_lines(
        [
            "E *toy test_revision[[]other[]] is slower than at HEAD (*): wall time +*% (*); confirmed in 3 of *",
            "*: slowlib 1 -> 2",
        ]
    )
    assert verdicts(revision) == {"steady": "same", "other": "slower"}


# Which runs take two environments


def test_equal_dependencies_stay_in_one_process(pytester, bump, cache):
    bump(FAST)
    result, revision = against(pytester, "-k", "steady")
    result.assert_outcomes(passed=1 + SELFCHECKS, deselected=2)
    assert revision["environments"] is None
    assert not cache.exists()


@pytest.mark.serial
def test_one_environment_says_what_it_does_not_compare(pytester, bump, cache):
    bump(SLOW)
    result, revision = against(pytester, "--one-environment")
    result.assert_outcomes(passed=2 + SELFCHECKS, deselected=1)
    text = "dependencies differ (requirements.lock) and were not compared: both sides ran in this environment"
    result.stdout.fnmatch_lines([f"gate: {text}", text])
    assert verdicts(revision) == {"steady": "same", "other": "same"}
    unknown = {"reference": None, "candidate": None}
    assert revision["environments"] == {
        "compared": False,
        "differs": ["requirements.lock"],
        "python": unknown,
        "packages": [],
    }
    assert not cache.exists()


def test_another_interpreter_takes_two_environments_too(pytester, bump, tmp_path, cache):
    bump(FAST)
    # The same version under another prefix, as far as its description goes.
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    result, revision = against(pytester, f"--against-python={python}", "-k", "steady")
    result.assert_outcomes(passed=1 + SELFCHECKS, deselected=2)
    assert revision["environments"]["compared"]
    assert revision["environments"]["differs"] == []
    result.stdout.fnmatch_lines(["each side ran in an environment of its own: the same packages in the same versions"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--against=HEAD", "--against-python=nowhere"], "--against-python: there is no interpreter nowhere"),
        (["--against=HEAD", "--against-python=python", "--one-environment"], "and --one-environment rules it out"),
        (["--against-python=python"], "--against-python is that of a comparison: add --against"),
        (["--against=HEAD", "-o", "gate_locks=uv.lock"], "gate_locks names uv.lock, and neither tree has such a file"),
    ],
)
def test_options_that_make_no_sense(pytester, bump, options, message):
    assert message in refused(pytester, *options)


def test_nothing_says_how_an_environment_is_made(pytester, bump, cache):
    bump(SLOW)
    message = refused(pytester, "--against=HEAD", "-o", "gate_install=")
    assert "the dependencies differ from HEAD (" in message
    assert "(requirements.lock), so each side needs an environment of its own" in message
    assert "Set pytest's ini option gate_install to the arguments of `uv pip install`" in message
    assert "--one-environment" in message
    assert not cache.exists()


def test_a_lock_that_cannot_be_installed(pytester, bump):
    bump("9")
    message = refused(pytester, "--against=HEAD")
    assert "uv cannot make the environment of the working tree. uv pip install " in message
    assert "slowlib==9" in message


def test_a_revision_whose_pyproject_cannot_be_read(pytester, bump):
    (pytester.path / "pyproject.toml").write_text("[project")
    git(pytester, "add", "-A")
    commit(pytester, "broken")
    (pytester.path / "pyproject.toml").write_text("")
    assert "pyproject.toml cannot be read" in refused(pytester, "--against=HEAD")


def test_a_lock_that_git_ignores_is_no_declaration(pytester, bump):
    (pytester.path / ".git/info/exclude").write_text("uv.lock\n")
    (pytester.path / "uv.lock").touch()
    pytester.runpytest_inprocess("--against=HEAD", "--collect-only", "-o", "gate_install=").assert_outcomes(
        deselected=1
    )
    (pytester.path / ".git/info/exclude").write_text("")
    assert "(uv.lock)" in refused(pytester, "--against=HEAD", "-o", "gate_install=")


# The two processes

WHERE = """
def where(expected, found):
    assert expected != found
    with open(r"{log}", "w") as file:
        print(*expected, *found, os.getpid(), file=file)
"""


def test_each_side_has_its_own_tree_process_and_version(pytester, bump, tmp_path):
    text = CASE.replace("return 7\n\nVARIANTS", "import os; return __file__, slowlib.VERSION, os.getpid()\n\nVARIANTS")
    bump(FAST, text=text)
    commit(pytester, "says where it is")
    log = tmp_path / "where.txt"
    body = BENCHMARKS.replace("check=same", "check=where").replace("import pytest", "import os\nimport pytest", 1)
    bump(AS_FAST, text=text, benchmarks=body + WHERE.format(log=log))
    against(pytester, "--budget=0", "-k", "other")
    there, old, its_pid, here, new, own_pid, pid = log.read_text().split()
    assert (old, new) == (FAST, AS_FAST)
    assert Path(here) == pytester.path / "toylib/case/__init__.py"
    assert Path(there) != Path(here)
    assert len({its_pid, own_pid, pid}) == 3
    assert not Path(there).exists()


def test_no_process_is_left_and_a_module_takes_one_pair(pytester, bump, monkeypatch):
    started, start = [], side_process.subprocess.Popen

    def spy(*arguments, **options):
        if "process_group" in options:
            started.append(start(*arguments, **options))
            return started[-1]
        return start(*arguments, **options)

    monkeypatch.setattr(side_process.subprocess, "Popen", spy)
    bump(AS_FAST)
    against(pytester, "--budget=0")
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


def test_the_processes_of_the_sides_write_no_report(pytester, bump):
    bump(AS_FAST)
    ini = pytester.path / "tox.ini"
    ini.write_text(ini.read_text().replace("addopts =", "addopts = --gate-json=gate.json"))
    _, revision = against(pytester, "--budget=0", "-k", "steady")
    assert verdicts(revision)


COUNTING = """
import sys, threading, time

import slowlib

counted = 0

def count():
    global counted
    while True:
        counted += 1
        time.sleep(0.001)

# Not in the process of the tests, where it would never end.
if "--gate-side" in sys.argv:
    threading.Thread(target=count, daemon=True).start()

def steady():
    time.sleep(0.001)
    return counted

VARIANTS = {{"steady": steady}}
"""


def test_the_side_that_waits_is_stopped(pytester, bump, tmp_path):
    bump(FAST, text=COUNTING)
    commit(pytester, "counting")
    # While one side sleeps here, the other would count to 800 if it were not stopped.
    sleeping = 'with open(r"{log}", "a") as file:\n        print(expected, found, file=file)\n    time.sleep(0.05)'
    body = BENCHMARKS.replace('assert expected == found, f"{found} and not {expected}"', sleeping)
    log = tmp_path / "counted.txt"
    body = body.replace("{log}", str(log)).replace("import pytest", "import time\nimport pytest", 1)
    bump(AS_FAST, text=COUNTING, benchmarks=body)
    against(pytester, "--budget=0.3")
    first, *_, last = ([int(number) for number in line.split()] for line in log.read_text().splitlines())
    pairs = len(log.read_text().splitlines())
    for before, after in zip(first, last, strict=True):
        assert after - before < 25 * pairs, "it counted while the benchmark slept for 50 ms per pair"


def test_a_process_that_dies_fails_its_test_and_the_next_one_goes_on(pytester, bump):
    bump(
        AS_FAST,
        text=CASE.replace(
            "def steady():", "def steady():\n    import os; print('last words', flush=True); os._exit(3)"
        ),
    )
    result, revision = against(pytester, "--budget=0")
    result.stdout.fnmatch_lines(
        ["E *test_revision[[]steady[]]: the process of the working tree has ended:", "*last words"]
    )
    assert list(verdicts(revision)) == ["other"]


def test_a_request_to_an_ended_process_leaves_nothing_that_cannot_be_freed(tmp_path, monkeypatch):
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: unraisable.append(found.exc_value))

    def ask():
        side = side_process.SideProcess("this side", Path(sys.executable), tmp_path, ["--version"], [])
        side._process.wait(30)
        with pytest.raises(side_process.SideError, match="the process of this side has ended") as caught:
            side.call()
        side.close()
        assert caught.tb  # its frames hold it, and so it waits for the garbage collector

    ask()
    gc.collect()  # the exception and its frames: CPython 3.13 could not free the buffer of `Connection.send`
    assert not unraisable


def test_a_process_that_is_killed_says_so(pytester, bump):
    bump(AS_FAST, other="import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    result, _ = against(pytester, "--budget=0", "-k", "other")
    result.stdout.fnmatch_lines(["E *test_revision[[]other[]]: the process of the working tree was killed, *memory*"])


def test_a_result_that_cannot_be_sent_says_so(pytester, bump):
    bump(AS_FAST, other="return lambda: 7")
    result, _ = against(pytester, "--budget=0", "-k", "other")
    result.stdout.fnmatch_lines(["E *the result cannot be sent to another process, return data or a digest*"])


def test_another_result_fails(pytester, bump):
    bump(AS_FAST, other="return slowlib.VERSION")
    result, _ = against(pytester, "-k", "other")
    result.stdout.fnmatch_lines(["E *test_revision[[]other[]] returns something else than at HEAD (*): 3 and not 7"])


def test_a_variant_that_raises_there_and_one_that_raises_here(pytester, bump):
    bump(FAST, other="raise OSError('broken')")
    commit(pytester, "broken")
    bump(AS_FAST)
    result, _ = against(pytester, "-k", "other")
    result.stdout.fnmatch_lines(["E *: at HEAD (*) it raises OSError: broken. Nothing can be compared with it*"])
    commit(pytester, "repaired")
    bump(FAST, other="raise OSError('broken')")
    result, _ = against(pytester, "-k", "other")
    result.stdout.fnmatch_lines(["E *OSError: broken", "E *in the process of the working tree:*"])


def test_what_is_new_here(pytester, bump):
    case = pytester.path / "toylib/case/__init__.py"
    more = CASE.replace('"other": other', '"other": other, "more": steady')
    bump(AS_FAST, text=more)
    (pytester.path / "toylib/fresh.py").write_text(case.read_text())
    (pytester.path / "suite/test_fresh.py").write_text(BENCHMARKS.replace("toylib.case", "toylib.fresh"))
    _, revision = against(pytester, "--budget=0", "-k", "more or fresh")
    assert verdicts(revision) == {"steady": "new", "other": "new", "more": "new"}
    assert len(revision["benchmarks"]) == 4


def test_benchmarks_that_cannot_be_imported_there_run_as_they_are_there(pytester, bump):
    (pytester.path / "toylib/late.py").touch()
    bump(AS_FAST, benchmarks=f"import toylib.late\n{BENCHMARKS}")
    result, revision = against(pytester, "--budget=0", "-k", "steady")
    result.stdout.fnmatch_lines(["test_toy.py runs at HEAD (*) as it is there: *"])
    assert "new" not in verdicts(revision).values()


UNSUPPORTED = """
other.unsupported = lambda: "no such processor"
"""


def test_a_variant_that_is_unsupported(pytester, bump):
    bump(AS_FAST, text=CASE + UNSUPPORTED)
    result, _ = against(pytester, "--budget=0", "-k", "other")
    result.stdout.fnmatch_lines(
        ["E *test_revision[[]other[]] runs at HEAD (*) and is unsupported here: no such processor"]
    )
    commit(pytester, "unsupported")
    bump(FAST, text=CASE + UNSUPPORTED)
    result, revision = against(pytester, "--budget=0", "-k", "other")
    assert result.parseoutcomes()["skipped"] == 1
    assert verdicts(revision) == {"other": "unsupported"}


def test_a_package_among_the_benchmarks_is_refused(pytester, bump):
    bump(AS_FAST)
    (pytester.path / "suite/mixed.py").write_text((pytester.path / "toylib/case/__init__.py").read_text())
    (pytester.path / "suite/__init__.py").touch()
    body = BENCHMARKS.replace("toylib.case", "suite.mixed")
    (pytester.path / "suite/test_toy.py").write_text(body)
    result, _ = against(pytester, "--budget=0", "-k", "steady")
    result.stdout.fnmatch_lines(["E *suite.mixed lies among the benchmarks, in suite/*no change of it would count*"])


def test_a_package_that_the_environment_brings_is_refused(pytester, bump):
    bump(AS_FAST, benchmarks=BENCHMARKS.replace('"toylib.case", variant', '"slowlib", "VERSION"'))
    result, _ = against(pytester, "--budget=0", "-k", "steady")
    result.stdout.fnmatch_lines(
        ["E *slowlib is imported from */slowlib.py and not from *: the lock must not install it"]
    )


def test_a_benchmark_that_only_the_revision_has_is_missing(pytester, bump):
    # In this process's environment the revision's benchmarks could not be listed: it has no such version.
    body = BENCHMARKS.replace("import pytest", "import pytest, slowlib\nassert slowlib.VERSION == 1")
    bump(FAST, benchmarks=body.replace("test_revision", "test_older"))
    commit(pytester, "another name")
    bump(AS_FAST)
    result, _ = against(pytester, "--budget=0", "-k", "steady")
    result.stdout.fnmatch_lines(["E *test_older[[]*[]] is at HEAD (*) and not here: removed or renamed?*"])


# Turns and evidence


class OpenAtFirst:
    """Leaves a duel open once, after a call of each side."""

    def __init__(self):
        self.turns = []

    def pytest_gate_runner(self):
        return self.run

    def run(self, name, reference, candidate, questions, *, evidence=(), **settings):
        if name in {CONTROL, CANARY}:
            margin = 1.05 if name == CANARY else 1.0
            part = Part(1, 1, 1.0, [Times(1.0, 1.0, margin, margin)] * 40)
            return recall(name, questions, [part], alpha=settings["alpha"], decided=settings["decided"])
        self.turns.append((name, len(evidence)))
        if not evidence:
            assert (reference.call(), candidate.call()) == (7, 7)
            part = Part(1, 1, 1.0, [Times(1.0, 1.0, 0.9, 0.9), Times(1.0, 1.0, 1.12, 1.12)])
            return recall(name, questions, [part], alpha=settings["alpha"], decided=settings["decided"])
        return run_duel(name, reference, candidate, questions, evidence=evidence, **settings)


@pytest.mark.serial
def test_duels_take_turns(pytester, bump, quick_self_checks):
    bump(AS_FAST)
    runner = OpenAtFirst()
    quick_self_checks[:] = [runner]
    _, revision = against(pytester)
    assert runner.turns == [(f"toy test_revision[{name}]", turn) for turn in (0, 1) for name in ("steady", "other")]
    assert verdicts(revision) == {"steady": "same", "other": "same"}


def test_evidence_is_that_of_both_environments(pytester, bump, tmp_path):
    kept = f"--evidence={tmp_path / 'evidence.json'}"
    bump(AS_FAST)
    _, first = against(pytester, kept, "--budget=0", "-k", "steady")
    _, second = against(pytester, kept, "--budget=0", "-k", "steady")
    assert second["benchmarks"][0]["duel"]["pairs"] >= first["benchmarks"][0]["duel"]["pairs"]
    assert second["benchmarks"][0]["duel"]["seed"] != first["benchmarks"][0]["duel"]["seed"]
    _, other = against(pytester, kept, "--budget=0", "-k", "steady", "--one-environment")
    assert other["benchmarks"][0]["duel"]["seed"] == first["benchmarks"][0]["duel"]["seed"]
    comparisons = json.loads((tmp_path / "evidence.json").read_text())["comparisons"]
    assert len({found["comparison"]["environment"] for found in comparisons}) == 2
