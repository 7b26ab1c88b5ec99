"""One probe: the duels of a commit with another, in a checkout of its own, and what they prove."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from . import witness
from .history import History, HistoryError, clean_environment
from .search import Outcome

ANSWERS: Mapping[str, Outcome] = {"slower": "bad", "same": "good", "faster": "good"}
COMPLETENESS = "::test_nothing_is_missing"  # about GOOD's other benchmarks; each probe has BAD's
LONGER = 4  # the second try of an inconclusive duel has this many times the budget


@dataclass(frozen=True)
class Probe:
    """What the duels of a commit came to.

    Attributes:
        commit: its hash.
        rows: by test, the rows of --gate-json with a verdict.
        reasons: by test (or "" for all), why there is no verdict.
        packages: where the packages that were duelled are, relative to the tests' root.
        seconds: how long it took.
    """

    commit: str
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    seconds: float = 0.0

    def of(self, verdict: str) -> list[str]:
        """Return the tests with a verdict."""
        return [test for test, row in self.rows.items() if row["verdict"] == verdict]

    def seconds_of(self, tests: Sequence[str]) -> float:
        """Return the seconds without the duels of other tests than these."""
        return self.seconds - sum(float(row["duel"]["seconds"]) for test, row in self.rows.items() if test not in tests)

    @property
    def outcome(self) -> Outcome:
        """Return bad if a test is slower, good if every test was judged and none is, and skip otherwise."""
        outcomes = [ANSWERS.get(row["verdict"], "skip") for row in self.rows.values()]
        if "bad" in outcomes:
            return "bad"
        return "skip" if self.reasons or "skip" in outcomes or not outcomes else "good"

    def __str__(self) -> str:
        verdict = {"bad": "slower", "good": "not slower", "skip": "cannot be judged"}[self.outcome]
        shown = self.of("slower") if self.outcome == "bad" else list(self.rows)
        parts = [f"{test.rpartition('::')[2]} {_numbers(self.rows[test])}" for test in shown]
        reasons = sorted(set(self.reasons.values())) if self.outcome == "skip" else []
        return f"{verdict} ({'; '.join([*reasons, *parts])})"


def _numbers(row: Mapping[str, Any]) -> str:
    duel = row["duel"]
    numbers = duel["cpu"] if row["clock"] == "cpu" else duel
    low, high = (f"{limit:.3f}" if limit is not None else "unknown" for limit in numbers["interval"])
    clock = {"cpu": "CPU", "wall": "wall"}[row["clock"]]
    return f"{row['verdict']}: {numbers['ratio']:.3f} times faster, {low} to {high}, {clock} time"


@dataclass(frozen=True)
class Prober:
    """Duels commits with a reference.

    Attributes:
        history: the commits.
        packages: where the packages are that are taken from each commit; all else is BAD's. Empty: not known yet.
        alpha: probability of any wrong verdict in one try; a probe has at most two.
        budget: seconds of a duel; the second try has LONGER times as many.
        options: further options for pytest.
    """

    history: History
    packages: tuple[str, ...]
    alpha: float
    budget: float
    options: tuple[str, ...] = ()

    def probe(self, commit: str, select: Sequence[str], *, tests: Sequence[str] = ()) -> Probe:
        """Duel a commit with GOOD.

        Args:
            commit: its hash.
            select: what selects the tests on pytest's command line.
            tests: ids of the tests that must have a verdict; empty if any will do.

        Raises:
            HistoryError: The packages that were duelled are not `packages`, or not those of the checkout.
        """
        start = time.monotonic()
        try:
            rows, reasons, packages = self._try(commit, select, tests, self.budget)
            open_ = [test for test, row in rows.items() if row["verdict"] == "inconclusive"]
            decided = any(row["verdict"] == "slower" for row in rows.values())
            if open_ and not decided and not reasons:
                again, reasons, _ = self._try(commit, open_, open_, self.budget * LONGER)
                rows = {**rows, **again}
        except _NoVerdictError as error:
            rows, reasons, packages = {}, {"": str(error)}, ()
        return Probe(commit, rows, reasons, packages, time.monotonic() - start)

    def _try(
        self, commit: str, select: Sequence[str], tests: Sequence[str], budget: float
    ) -> tuple[dict[str, dict[str, Any]], dict[str, str], tuple[str, ...]]:
        """Run the tests once; return the rows, the reasons of tests without one, and the packages."""
        against = self.history.good
        with self.history.checkout(commit, self.packages) as (root, scratch):
            report, seen = scratch / "gate.json", scratch / "seen.json"
            shutil.copy(witness.__file__, scratch / "gate_witness.py")
            words = ["-q", "-p", "no:cacheprovider", "-p", "gate_witness", f"--rootdir={root}", f"--against={against}"]
            words += [f"--alpha={self.alpha!r}", f"--budget={budget!r}", f"--gate-json={report}", *self.options]
            path = os.pathsep.join(filter(None, (str(scratch), clean_environment().get("PYTHONPATH"))))
            environment = clean_environment(
                **{witness.VARIABLE: str(seen), witness.SUFFIX: f"_at_{against[:12]}"},
                PYTHONPATH=path,
                TMPDIR=str(scratch),
                PERFORMANCE_GATE_ONE_ENVIRONMENT="1",  # the dependencies of each commit are BAD's
            )
            status, output = _run([sys.executable, "-m", "pytest", *words, *select], root, environment)
            if status not in (0, 1):
                raise _NoVerdictError(_last(output, seen))
            try:
                witnessed = json.loads(seen.read_text(encoding="utf-8"))
                revision = json.loads(report.read_text(encoding="utf-8"))["revision"]
                rows = {row["test"]: row for row in revision["benchmarks"]}
                if revision["commit"] != against:
                    raise _NoVerdictError(f"the duels were with {revision['commit']}")
            except (OSError, ValueError, KeyError, TypeError):
                raise _NoVerdictError(_last(output, seen)) from None
            packages = self._checked(witnessed["packages"], root)
        return (*_judged(rows, witnessed, status, tests), packages)

    def _checked(self, packages: Mapping[str, str], root: Path) -> tuple[str, ...]:
        """Return where the packages that were duelled are, or refuse what would measure the same at each commit."""
        places: list[str] = []
        for name, place_text in packages.items():
            place = Path(place_text).resolve()
            if not place.is_relative_to(root):
                raise HistoryError(
                    f"the tests import {name} from {place_text or 'nowhere'} and not from the checkout of each commit: "
                    "is it installed in this environment? Put its folder on pytest's `pythonpath`"
                )
            places.append(place.relative_to(root).as_posix())
            if self.packages and places[-1] not in self.packages:
                raise HistoryError(f"the tests duel {name}, and not only --package: add --package {places[-1]}")
        return tuple(sorted(places))


class _NoVerdictError(Exception):
    """A run has no verdicts; the message says why."""


def _judged(
    rows: dict[str, dict[str, Any]], witnessed: Mapping[str, Any], status: int, tests: Sequence[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Return the rows that count, and the reasons why tests have none; what is not known to be fine does not count."""
    failures: Mapping[str, str] = witnessed["failures"]
    reasons = {test: why for test, why in failures.items() if test not in rows and not test.endswith(COMPLETENESS)}
    counted = {}
    for test, row in rows.items():
        fails, may_fail = test in failures, row["verdict"] in {"slower", "inconclusive"}
        if row["verdict"] not in {*ANSWERS, "inconclusive"} or not row["duel"]:
            reasons[test] = row["note"] or row["verdict"]
        elif (fails and not may_fail) or (row["verdict"] == "slower" and not (fails and status == 1)):
            reasons[test] = failures.get(test, f"{row['verdict']}, and pytest says otherwise")
        else:
            counted[test] = row
    # A control or a canary that fails leaves no verdict standing.
    outside = {test: why for test, why in reasons.items() if test not in rows and "selfcheck" in test}
    if outside:
        return {}, outside
    for test in tests:
        if test not in counted:
            reasons.setdefault(test, witnessed["skips"].get(test, "no verdict was reported"))
    return counted, reasons


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a command; return its status and output. An interrupt ends its own processes too."""
    with subprocess.Popen(  # noqa: S603 - this interpreter, and no shell
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            output, _ = process.communicate()
        except BaseException:
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            process.kill()
            raise
        return process.returncode, output


def _last(output: str, seen: Path) -> str:
    """Return the likely reason why a run has no verdict."""
    try:
        failures = list(json.loads(seen.read_text(encoding="utf-8"))["failures"].values())
    except (OSError, ValueError, KeyError):
        failures = []
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("E").strip() for line in lines if line.startswith(("E  ", "ERROR"))]
    return next(iter([*failures, *reversed(errors), *reversed(lines)]), "pytest printed nothing")
