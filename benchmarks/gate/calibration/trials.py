"""Duels whose right verdict is known: with no slowdown, and with a known one, between the sides."""

import math
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from ..judge.rules import revision_decided, revision_questions, revision_verdict
from ..measure.duel import Check, run_duel
from ..measure.timing import InProcess, Work
from ..measure.workloads import slowed, sorting
from .other_tools import Rule, block

ALPHA = 0.001 / 20  # per duel: the default of a run, in a suite of 20 benchmarks
TOLERANCE = 0.03  # the default
BLIND = 0.1  # the default
SLOWDOWNS = (0.01, 0.02, 0.03, 0.05, 0.10)
TIGHT = (0.02, 0.02)  # slowdown and tolerance of the one row with another tolerance
HALVED = (0.01, 0.02, 0.10)  # slowdowns without a target at the default tolerance: half as many trials


@dataclass(frozen=True)
class Subject:
    """Work for duels: `build` returns a reference and a candidate that do the same, newly built for every trial."""

    name: str
    build: Callable[[], tuple[Work, Work]]
    check: Check | None = None
    collects: bool = False  # whether garbage collection stays on, as between revisions


@dataclass(frozen=True)
class Job:
    """One trial of a subject: a duel, or with `other_tools` the blocks of samples for their rules."""

    subject: Subject
    slowdown: float = 0.0
    tolerance: float = TOLERANCE
    other_tools: bool = False


@dataclass(frozen=True)
class Trial:
    """The result of one duel; the ratio is time(reference) / time(candidate), `call` the reference's median seconds."""

    subject: str
    slowdown: float
    tolerance: float
    verdict: str
    pairs: int
    seconds: float
    ratio: float
    call: float


@dataclass(frozen=True)
class OtherVerdict:
    """Another tool's verdict on one slowdown; its ratio is time(candidate) / time(reference)."""

    rule: str
    subject: str
    slowdown: float
    flagged: bool
    ratio: float


@dataclass
class Findings:
    """All trials, the other tools' verdicts, and the seconds that all of it took."""

    trials: list[Trial] = field(default_factory=list)
    others: list[OtherVerdict] = field(default_factory=list)
    seconds: float = 0.0

    def of(self, subject: str, slowdown: float, tolerance: float = TOLERANCE) -> list[Trial]:
        """Return the trials of one row."""
        key = (subject, slowdown, tolerance)
        return [trial for trial in self.trials if (trial.subject, trial.slowdown, trial.tolerance) == key]

    @property
    def subjects(self) -> list[str]:
        """Return the names of the subjects, the fastest first."""
        calls = {trial.subject: trial.call for trial in self.trials}
        return sorted(calls, key=lambda name: calls[name])


def sorting_subject(name: str, lists: int) -> Subject:
    """Return the sorting of that many lists, built separately for each side, as two loads of one revision are."""
    return Subject(name, lambda: (sorting(lists), sorting(lists)))


def jobs_of(subject: Subject, same: int, trials: int, other_tools: int) -> list[list[Job]]:
    """Return the jobs in rows: `same` duels of unchanged code, `trials` of each slowdown (see HALVED)."""
    rows = [[Job(subject)] * same, [Job(subject, *TIGHT)] * trials, [Job(subject, other_tools=True)] * other_tools]
    counts = {slowdown: math.ceil(trials / 2) if slowdown in HALVED else trials for slowdown in SLOWDOWNS}
    return rows + [[Job(subject, slowdown)] * count for slowdown, count in counts.items()]


def mixed(rows: Iterable[list[Job]], seed: int) -> list[Job]:
    """Return the jobs of all rows with each row spread evenly over the time, so that all rows get the same noise."""
    coin = random.Random(seed)
    placed = [((i + coin.random()) / len(row), job) for row in rows for i, job in enumerate(row)]
    return [job for _, job in sorted(placed, key=lambda place: place[0])]


def measure(
    jobs: Iterable[Job],
    findings: Findings,
    rules: dict[str, Rule | None],
    *,
    budget: float,
    seed: int,
    limit: float = math.inf,
) -> None:
    """Do the jobs in order until `limit` seconds have passed, and add their results to the findings."""
    start, coin = time.monotonic(), random.Random(seed)
    for job in jobs:
        if time.monotonic() - start >= limit:
            break
        if job.other_tools:
            findings.others += _sampled(job.subject, rules, coin)
        else:
            findings.trials.append(_duelled(job, budget, coin.getrandbits(32)))
    findings.seconds += time.monotonic() - start


def _duelled(job: Job, budget: float, seed: int) -> Trial:
    reference, candidate = job.subject.build()
    if seed % 2:
        reference, candidate = candidate, reference
    if job.slowdown:
        candidate = slowed(candidate, job.slowdown)
    name = job.subject.name
    duel = run_duel(
        name,
        InProcess(reference, collects=job.subject.collects),
        InProcess(candidate, collects=job.subject.collects),
        revision_questions(job.tolerance, BLIND),
        alpha=ALPHA,
        budget=budget,
        seed=seed,
        check=job.subject.check,
        decided=revision_decided,
    )
    verdict = revision_verdict(duel) or "inconclusive"
    return Trial(name, job.slowdown, job.tolerance, verdict, duel.pairs, duel.seconds, duel.ratio, duel.reference)


def _sampled(subject: Subject, rules: dict[str, Rule | None], coin: random.Random) -> Iterator[OtherVerdict]:
    """Take a block of the reference, then one of each slowdown in random order, and apply every rule to each."""
    reference, candidate = subject.build()
    before = block(reference)
    for slowdown in coin.sample((0.0, *SLOWDOWNS), len(SLOWDOWNS) + 1):
        after = block(slowed(candidate, slowdown) if slowdown else candidate)
        for name, rule in rules.items():
            if rule:
                yield OtherVerdict(name, subject.name, slowdown, *rule(before, after))
