"""The cases' part of a calibration: the cases' own benchmarks, with many duels of known slowdowns in place of one."""

import argparse
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tqdm import tqdm

from ..measure.duel import Duel, run_duel
from ..measure.timing import Side, Work, settled_memory
from ..plugin.session import CANARY, CONTROL, Runner
from .other_tools import Rule
from .results import case_goal
from .trials import Findings, Job, Subject, jobs_of, measure, mixed

ROOT = Path(__file__).parents[3]
# More than a benchmark has time for: its time limit ends it, and the rows take turns until then.
SAME, TRIALS, OTHER_TOOLS = 400, 100, 20
TARGET = 40  # duels of each row with --targets-only


class CasesError(RuntimeError):
    """The cases cannot be measured; the message says why."""


class Calibrating:
    """A pytest plugin that runs a calibration's duels on the two sides of each benchmark before its own duel."""

    def __init__(
        self, findings: Findings, rules: dict[str, Rule | None], options: argparse.Namespace, seed: int
    ) -> None:
        """Take the arguments of `measure`."""
        self.findings, self.rules, self.options, self.seed = findings, rules, options, seed

    def pytest_gate_runner(self) -> Runner:
        """Replace the runner of the session's duels."""
        return self.run

    def run(self, name: str, reference: Work | Side, candidate: Work | Side, *arguments: Any, **keywords: Any) -> Duel:
        """Run the calibration's duels, except for the self-checks, and then the requested duel."""
        if name not in {CONTROL, CANARY}:
            works = [side if callable(side) else side.call for side in (reference, candidate)]
            subject = Subject(name, lambda: (works[0], works[1]), keywords.get("check"), collects=True)
            jobs = tqdm(mixed(self._rows(subject), self.seed), desc=subject.name, disable=None)
            with settled_memory():
                measure(
                    jobs,
                    self.findings,
                    self.rules,
                    budget=self.options.budget,
                    seed=self.seed,
                    limit=self.options.case_seconds,
                )
        return run_duel(name, reference, candidate, *arguments, **keywords)

    def _rows(self, subject: Subject) -> list[list[Job]]:
        if not self.options.targets_only:
            return jobs_of(subject, SAME, TRIALS, OTHER_TOOLS)
        goal = case_goal(self.options.noise)
        return [[Job(subject)] * TARGET, [Job(subject, goal.slowdown, goal.tolerance)] * TARGET]


def measure_cases(
    findings: Findings, rules: dict[str, Rule | None], options: argparse.Namespace, seed: int
) -> list[str]:
    """Calibrate the benchmarks that --select selects, against HEAD; return what went wrong.

    Raises:
        CasesError: The working tree's code is not HEAD's, so that the right verdict is unknown.
    """
    unchanged()
    plugin = Calibrating(findings, rules, options, seed)
    command = ["--against", "HEAD", "-k", options.select, "-p", "no:cacheprovider", "--no-header"]
    command += [f"--budget={options.budget}", f"--duel-seed={seed}", str(ROOT / "benchmarks")]
    status = pytest.main(command, plugins=[plugin])
    if status != pytest.ExitCode.OK:
        return [f"pytest ended with status {int(status)}, see above"]
    return [] if findings.trials else [f"--select {options.select!r} selects no duel"]


def unchanged(root: Path = ROOT) -> None:
    """Make sure that impl/ is the same as at HEAD.

    Raises:
        CasesError: It is not, or git cannot tell.
    """
    command = ["git", "-C", str(root), "status", "--porcelain", "--", "impl"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the user's own git
    except FileNotFoundError:
        raise CasesError("git is needed for duels of the cases with HEAD; leave out --select") from None
    if done.returncode or done.stdout:
        changed = done.stdout.strip() or done.stderr.strip()
        raise CasesError(
            f"impl/ is not the same as at HEAD, so the right verdict is unknown: {changed}. Commit, or drop --select"
        )
