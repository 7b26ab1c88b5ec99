"""What a calibration found, against what it must reach, as Markdown and as JSON."""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from scipy.special import betaincinv

from ..judge.rules import duration
from ..measure.machine import summary
from .other_tools import RULES
from .trials import ALPHA, SLOWDOWNS, TIGHT, TOLERANCE, Findings, Trial

INTRODUCTION = """\
# Calibration

`make calibrate` duels work whose right verdict is known, on the machine and
beside the neighbours named below, and counts. Nothing in here is computed from a model: every number is a count, or
the median or worst of what was measured in this run. Limits are 95 % ones for a share (Clopper and Pearson).

- **What is duelled.** Sorting lists of floats, in three lengths, the two sides built separately for every duel, and a
  coin decides which is the candidate; and each case's `optimised` variant, by its own benchmark, the working tree
  against HEAD, which are the same code. A slowdown is added to the candidate by spinning after each call for that share
  of what the call took: it is exactly that share, whatever the noise.
- **How.** The duel of `pytest --against` with its defaults: {alpha:g} per duel, as in a suite of 20 benchmarks; budget
  {budget:g} s; tolerance 3 %, except where 2 % is said. The verdicts are those before a `slower` is confirmed in fresh
  processes, which can only take alarms away. The rows take turns all the time: all of them saw the same neighbours.
- **Neighbours.** Processes of ours that disturb: one computes, one copies memory, one does either in bursts with
  pauses, and so on in turns. The machine's own other tenants come on top.
- **The other tools' rules** are the tools' own code, on samples taken in this run, of the same work beside the same
  neighbours: two seconds of the reference, then two seconds of each candidate, in an order of chance. pytest-benchmark
  gets what its defaults take (every call of one second). asv gets ten samples of 10 ms, its default, but from one
  process and not two; pyperf up to twenty values of 0.1 s from one process, where its default is sixty from twenty.
  The blocks follow each other within seconds: between two real runs the noise has more time to change.

**Limits.** The shares hold for this machine and these neighbours. What a process has built keeps its memory layout, and
that can be a slowdown nobody knows: the sorting stays within a core's cache so that it plays no part there, and in the
rows of the cases all duels of a row share one layout. A slowdown added by spinning is of the kind that scales with the
work; one that makes single calls slow, or only the first, is another matter. Where a row has few duels its limits are
wide. Calls longer than these need longer duels: beside three neighbours on two cores, 30 s of calls of 50 ms told 10 %.
"""


@dataclass(frozen=True)
class Goal:
    """A share that duels must reach: with `slowdown` between the sides, this verdict within so many seconds."""

    name: str
    slowdown: float
    tolerance: float
    verdict: str
    share: float
    within: float = math.inf
    only: str | None = None


GOALS = (
    Goal("slowdown of 3 % found", 0.03, TOLERANCE, "slower", 0.99),
    Goal("slowdown of 2 % found with tolerance 2 %", *TIGHT, "slower", 0.95),
    Goal("slowdown of 5 % found within 5 s", 0.05, TOLERANCE, "slower", 1.0, 5.0, "slow"),
    Goal("unchanged code `same` within 30 s", 0.0, TOLERANCE, "same", 0.95, 30.0),
)


@dataclass(frozen=True)
class Target:
    """One line of what must be reached. What was not measured is missed."""

    name: str
    wanted: str
    measured: str
    met: bool


@dataclass
class Calibration:
    """A whole run."""

    date: str
    machine: dict[str, Any]
    noise: int
    budget: float
    seed: int
    goals: Sequence[Goal]
    subjects: list[str]
    missing: list[str]
    sorting: Findings = field(default_factory=Findings)
    cases: Findings = field(default_factory=Findings)
    complaints: list[str] = field(default_factory=list)

    @property
    def everything(self) -> Findings:
        """Return the findings of the sorting and of the cases together."""
        parts = (self.sorting, self.cases)
        return Findings(
            [trial for part in parts for trial in part.trials],
            [said for part in parts for said in part.said],
            sum(part.seconds for part in parts),
        )

    def targets(self) -> list[Target]:
        """Return what must be reached, and whether it was: false alarms anywhere, the rest for each sorting alone."""
        same = [trial for trial in self.everything.trials if not trial.slowdown]
        flagged = sum(trial.verdict == "slower" for trial in same)
        found = [
            Target(
                "unchanged code flagged `slower`", "0 of 1,000", _share(flagged, len(same)), bool(same) and not flagged
            )
        ]
        found += [
            _target(goal, subject, self.sorting.of(subject, goal.slowdown, goal.tolerance))
            for goal in self.goals
            for subject in self.subjects
            if goal.only in {None, subject}
        ]
        found += [Target("every case ran", "yes", complaint, met=False) for complaint in self.complaints]
        return found

    def document(self) -> dict[str, Any]:
        """Return the run in types JSON knows."""
        everything = self.everything
        return {
            "date": self.date,
            "machine": self.machine,
            "noise": self.noise,
            "budget": self.budget,
            "seed": self.seed,
            "alpha": ALPHA,
            "seconds": everything.seconds,
            "targets": [asdict(target) for target in self.targets()],
            "trials": [asdict(trial) for trial in everything.trials],
            "others": [asdict(said) for said in everything.said],
            "not_installed": self.missing,
        }

    def markdown(self) -> str:
        """Return the run as a text with tables."""
        everything = self.everything
        parts = [
            INTRODUCTION.format(alpha=ALPHA, budget=self.budget),
            f"Measured {self.date} in {everything.seconds / 60:.0f} minutes beside {self.noise} disturbing processes:",
            f"{summary(self.machine)}; seed {self.seed}.\n",
            "## What must be reached\n",
            _table(("", "wanted", "measured", ""), map(_target_row, self.targets())),
            "## Duels\n",
            _table(DUEL_COLUMNS, _duel_rows(everything)),
            "## Power curve\n",
            "Share of duels that say `slower`, tolerance 3 %; each # is 5 %.\n",
            "```text\n" + "\n".join(_curve(everything)) + "\n```\n",
            "## What others would have said\n",
            "Share of comparisons flagged as slower, by the slowdown there was; at last the most reported for none.\n",
            _table(OTHER_COLUMNS, _other_rows(everything)),
            *(f"- {name}: not installed, not measured (it is in the extra `peers`)\n" for name in self.missing),
        ]
        return "\n".join(parts)


def limits(count: int, of: int) -> tuple[float, float]:
    """Return the 95 % limits of Clopper and Pearson for a share of which `count` in `of` were seen."""
    low = float(betaincinv(count, of - count + 1, 0.025)) if count else 0.0
    high = float(betaincinv(count + 1, of - count, 0.975)) if count < of else 1.0
    return low, high


DUEL_COLUMNS = (
    "work",
    "a call",
    "slowdown",
    "tolerance",
    "duels",
    "`slower`",
    "limits",
    "`same`",
    "`faster`",
    "`inconclusive`",
    "pairs",
    "at most",
    "seconds",
    "at most ",
)
SHOWN = (0.0, *SLOWDOWNS)
OTHER_COLUMNS = ("rule", "work", "each", *(f"{slowdown:.0%}" for slowdown in SHOWN), "reported at 0%")


def _target(goal: Goal, subject: str, trials: list[Trial]) -> Target:
    reached = sum(trial.verdict == goal.verdict and trial.seconds <= goal.within for trial in trials)
    name = f"{goal.name}, {subject}"
    if not trials:
        return Target(name, f"{goal.share:.0%}", "not measured", met=False)
    slowest = max(trial.seconds for trial in trials)
    measured = f"{_share(reached, len(trials))}, at most {slowest:.1f} s"
    return Target(name, f"{goal.share:.0%}", measured, reached >= goal.share * len(trials))


def _target_row(target: Target) -> tuple[str, ...]:
    return target.name, target.wanted, target.measured, "met" if target.met else "**missed**"


def _share(count: int, of: int) -> str:
    if not of:
        return "not measured"
    low, high = limits(count, of)
    return f"{count:,} of {of:,} ({low:.1%} to {high:.1%})"


def _duel_rows(findings: Findings) -> Iterator[tuple[str, ...]]:
    rows = [(slowdown, TOLERANCE) for slowdown in SHOWN] + [TIGHT]
    for subject in findings.subjects:
        for slowdown, tolerance in rows:
            trials = findings.of(subject, slowdown, tolerance)
            if not trials:
                continue
            verdicts = Counter(trial.verdict for trial in trials)
            low, high = limits(verdicts["slower"], len(trials))
            pairs, seconds = [trial.pairs for trial in trials], [trial.seconds for trial in trials]
            yield (
                subject,
                duration(statistics.median(trial.call for trial in trials)),
                f"{slowdown:.0%}",
                f"{tolerance:.0%}",
                f"{len(trials)}",
                f"{verdicts['slower'] / len(trials):.0%}",
                f"{low:.1%} to {high:.1%}",
                *(f"{verdicts[word] / len(trials):.0%}" for word in ("same", "faster", "inconclusive")),
                f"{statistics.median(pairs):.0f}",
                f"{max(pairs)}",
                f"{statistics.median(seconds):.1f}",
                f"{max(seconds):.1f}",
            )


def _curve(findings: Findings) -> Iterator[str]:
    for subject in findings.subjects:
        yield subject
        for slowdown in SHOWN:
            if trials := findings.of(subject, slowdown):
                share = sum(trial.verdict == "slower" for trial in trials) / len(trials)
                yield f"  {slowdown:>4.0%}  {'#' * round(20 * share):<20}  {share:.0%}"


def _other_rows(findings: Findings) -> Iterator[tuple[str, ...]]:
    for subject in findings.subjects:
        mine = [findings.of(subject, slowdown) for slowdown in SHOWN]
        cells = [_percent([trial.verdict == "slower" for trial in trials]) for trials in mine]
        worst = f"{max((1 / trial.ratio for trial in mine[0]), default=math.nan) - 1:+.1%}"
        if not any(said.subject == subject for said in findings.said):
            continue
        yield "this gate", subject, _each(map(len, mine)), *cells, worst
        for rule in RULES:
            said = [
                [s for s in findings.said if (s.rule, s.subject, s.slowdown) == (rule, subject, slowdown)]
                for slowdown in SHOWN
            ]
            if any(said):
                worst = f"{max((s.ratio for s in said[0]), default=math.nan) - 1:+.1%}"
                yield (
                    rule,
                    subject,
                    _each(map(len, said)),
                    *(_percent([s.flagged for s in some]) for some in said),
                    worst,
                )


def _each(counts: Iterable[int]) -> str:
    """Return how many comparisons the cells of a row are of."""
    counts = sorted(counts)
    return f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"


def _percent(flags: Sequence[bool]) -> str:
    return f"{sum(flags) / len(flags):.0%}" if flags else ""


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows)) + "\n"
