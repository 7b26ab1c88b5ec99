"""The cases' part of a calibration: each case's own benchmark, with other duels than it asks for."""

import argparse
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tqdm import tqdm

from ..measure.duel import Duel
from ..measure.timing import Work
from ..plugin.session import GATE
from .other_tools import Rule
from .trials import Findings, Subject, jobs_of, measure, mixed

TEST = "test_revision"
VARIANT = "optimised"
ROOT = Path(__file__).parents[3]
# More than a case has time for: its limit ends it, and until then all rows had their turns.
SAME, TRIALS, RIVALS = 400, 100, 20


class CasesError(RuntimeError):
    """The cases cannot be measured; the message says why."""


class Calibrating:
    """A pytest plugin that hands the two sides of each case's benchmark to a calibration before they are duelled."""

    def __init__(
        self, findings: Findings, rules: dict[str, Rule | None], options: argparse.Namespace, seed: int
    ) -> None:
        """Take what `measure` needs."""
        self.findings, self.rules, self.options, self.seed = findings, rules, options, seed

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Come between the fixtures and the duel."""
        gate: Any = config.stash.get(GATE, None)
        if not hasattr(gate, "fight"):
            raise pytest.UsageError("calibrate: the gate has no attribute `fight` whose duels could be multiplied")
        self.fight = gate.fight
        gate.fight = self.calibrated

    def calibrated(self, name: str, reference: Work, candidate: Work, *arguments: Any, **keywords: Any) -> Duel:
        """Run the calibration's duels where it is a case's benchmark, and always the one that was asked for."""
        if TEST in name:
            subject = Subject(name.split(maxsplit=1)[0], lambda: (reference, candidate), keywords.get("check"))
            jobs = tqdm(mixed(jobs_of(subject, SAME, TRIALS, RIVALS), self.seed), desc=subject.name, disable=None)
            measure(
                jobs,
                self.findings,
                self.rules,
                budget=self.options.budget,
                seed=self.seed,
                limit=self.options.case_seconds,
            )
        found: Duel = self.fight(name, reference, candidate, *arguments, **keywords)
        return found


def measure_cases(
    findings: Findings, rules: dict[str, Rule | None], options: argparse.Namespace, seed: int
) -> list[str]:
    """Calibrate each case's optimised variant by its benchmark, against HEAD; return what went wrong with it.

    Raises:
        CasesError: where HEAD is not the working tree's code, so that nothing would be known about the right verdict.
    """
    unchanged()
    plugin = Calibrating(findings, rules, options, seed)
    command = ["--against", "HEAD", "-k", f"{TEST} and {VARIANT}", "-p", "no:cacheprovider", "--no-header"]
    status = pytest.main([*command, f"--duel-seed={seed}", str(ROOT / "benchmarks")], plugins=[plugin])
    if status != pytest.ExitCode.OK:
        return [f"pytest ended with status {int(status)}, see above"]
    return [] if findings.trials else [f"no {TEST}[{VARIANT}] was duelled"]


def unchanged(root: Path = ROOT) -> None:
    """Make sure that impl/ is as it is at HEAD.

    Raises:
        CasesError: where it is not, or git cannot tell.
    """
    command = ["git", "-C", str(root), "status", "--porcelain", "--", "impl"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the user's own git
    except FileNotFoundError:
        raise CasesError("git is needed to duel the cases with HEAD; --no-cases leaves them out") from None
    if done.returncode or done.stdout:
        changed = done.stdout.strip() or done.stderr.strip()
        raise CasesError(
            f"impl/ is not as at HEAD, so no verdict is known to be right: {changed}. Commit, or --no-cases"
        )
