"""One pytest session: its settings, what it compares with, and its findings."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest

from ..compare import saved
from ..compare.evidence import Evidence, Kept
from ..compare.revision import Revision
from ..measure.bets import Question
from ..measure.duel import Check, Duel, Progress
from ..measure.evidence import Part
from ..measure.score import Decided
from ..measure.timing import Side, Work
from ..report.findings import Findings
from .environments import Plan
from .pair import Pairs
from .settings import DuelSettings, Settings
from .side import Link
from .turns import Turns
from .work import Works

CONTROL, CANARY = "control", "canary"  # the duels by which a run proves itself; they share alpha with all others


class Runner(Protocol):
    """What runs a duel: `measure.duel.run_duel`, or a plugin's replacement (see `hookspecs`)."""

    def __call__(
        self,
        name: str,
        reference: Work | Side,
        candidate: Work | Side,
        questions: Sequence[Question],
        *,
        alpha: float,
        budget: float,
        seed: int,
        check: Check | None = None,
        decided: Decided | None = None,
        progress: Progress | None = None,
        evidence: Sequence[Part] = (),
    ) -> Duel:
        """Run a duel, or continue one."""


@dataclass
class Session:
    """One session.

    Attributes:
        settings: its options.
        machine: the description of this machine.
        runner: what runs its duels.
        revision: the other revision; None without --against.
        runs: the saved runs that it is judged by.
        evidence: the file of --evidence; None without one.
        turns: of the duels with the revision; None if each has a time limit of its own.
        works: the work of the benchmarks, compared with --against and not in processes that confirm.
        duels: the number of duels that share alpha.
        collected: ids of the tests that measure, deselected ones included.
        findings: its results.
        skipped: the reasons of skipped tests, by id.
        failed: ids of failed tests.
        messages: why they failed, by id.
        measured: ids of tests with the mark `measures` that ran.
        peaks: peak memory in bytes, by the pickled function and arguments.
        plan: of the environments of the two sides; None if they share this one.
        pairs: their processes, likewise.
        link: to the referee, in a side's process; None elsewhere.
    """

    settings: Settings
    machine: dict[str, Any]
    runner: Runner
    revision: Revision | None = None
    runs: list[saved.Run] = field(default_factory=list)
    evidence: Evidence | None = None
    turns: Turns | None = None
    works: Works = field(default_factory=Works)
    duels: int = 1
    collected: frozenset[str] = frozenset()
    findings: Findings = field(default_factory=Findings)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    messages: dict[str, str] = field(default_factory=dict)
    measured: set[str] = field(default_factory=set)
    peaks: dict[bytes, int] = field(default_factory=dict)
    plan: Plan | None = None
    pairs: Pairs | None = None
    link: Link | None = None

    @property
    def compares(self) -> bool:
        """Return whether this run is about the tests that compare with another revision."""
        return bool(self.revision or self.link)

    @property
    def gated(self) -> bool:
        """Return whether this run compares and so has to prove that it can; processes that confirm do not."""
        return bool(self.revision or self.runs) and not self.settings.confirming

    @property
    def alpha(self) -> float:
        """Return the alpha of one duel."""
        return self.settings.alpha / self.duels

    def seed(self, test: str, part: int = 0) -> int:
        """Return the seed of one test's duel; of each part its own."""
        return random.Random(f"{self.settings.seed} {test}{f' {part}' if part else ''}").getrandbits(32)

    def kept(self, test: str, settings: DuelSettings) -> Kept:
        """Return what an earlier run has left of one test's duel, see --evidence."""
        return self.evidence.of(test, self._of_duel(settings)) if self.evidence else Kept()

    def keep(self, test: str, settings: DuelSettings, kept: Kept) -> None:
        """Leave what was measured of one test's duel to a later run, with --evidence."""
        if self.evidence:
            self.evidence.keep(test, self._of_duel(settings), kept)

    def _of_duel(self, settings: DuelSettings) -> tuple[float | bool, ...]:
        return self.alpha, settings.tolerance, settings.blind, settings.cpu

    def of_revision(self) -> dict[str, Any]:
        """Return the arguments with which the revision's own benchmarks run: in its environment if it has its own."""
        return self.pairs.of_revision() if self.pairs else {}

    def saved_duel(self, test: str) -> tuple[Duel | None, str]:
        """Return a test's duel in the last run that has it, and the name of that run."""
        duels = [(run.duels[test], run.name) for run in self.runs if test in run.duels]
        return duels[-1] if duels else (None, "")

    def saved_memory(self, test: str) -> tuple[saved.Peaks | None, str]:
        """Return a test's peaks in the last run that has them, and the name of that run."""
        peaks = [(run.memory[test], run.name) for run in self.runs if test in run.memory]
        return peaks[-1] if peaks else (None, "")


SESSION = pytest.StashKey[Session]()
