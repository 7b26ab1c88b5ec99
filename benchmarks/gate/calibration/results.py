"""The results of a calibration and its targets, as Markdown and as JSON."""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from scipy.stats import binomtest

from ..measure.machine import summary
from ..report.tables import table
from ..report.words import duration
from .other_tools import RULES
from .trials import ALPHA, SLOWDOWNS, TIGHT, TOLERANCE, Findings, Trial

INTRODUCTION = """\
# Calibration

`make calibrate` runs duels whose right verdict is known, on the machine and beside the noisy neighbours named below,
and counts the verdicts. No number in here comes from a model: each is a count, a median or an extreme of this run.
Intervals for shares are 95 % ones (Clopper and Pearson).

- **The work.** Sorting lists of floats, in three lengths, with the two sides built separately for every duel and a coin
  that decides which one is the candidate. {cases} A slowdown is added to
  the candidate by spinning after each call for that share of the call's time: it is exactly that share in any noise.
- **The duels** are those of `pytest --against` with its defaults: alpha {alpha:g} per duel, as in a suite of 20
  benchmarks; budget {budget:g} s; tolerance 3 %, except where the table says 2 %. The verdicts are those before a
  `slower` is confirmed in fresh processes, which can only remove false alarms. The rows take turns all the time, so all
  of them had the same noise.
- **Noisy neighbours.** One process computes, one copies memory, one does either in bursts with pauses, and so on in
  turns. The machine's other tenants come on top.
- **The other tools' rules** are the tools' own code, on samples of this run, of the same work beside the same
  neighbours: two seconds of the reference, then two seconds of each candidate, in random order. pytest-benchmark gets
  its default samples (every call of one second). asv gets ten samples of 10 ms, its default, but from one process and
  not two; pyperf up to twenty values of 0.1 s from one process, where its default is sixty from twenty processes. The
  blocks follow each other within seconds: between two real runs the noise has more time to change.

**Limits.** The shares hold for this machine and these neighbours. A process keeps its memory layout, which can be an
unknown slowdown: the sorting stays within a core's cache, where the layout plays no part, and in the rows of the cases
all duels of a row share one layout. A slowdown by spinning grows with the work; a slowdown of single calls, or of the
first call only, is another matter. A row with few duels has a wide interval. Longer calls need longer duels: beside
three noisy neighbours on two cores, 30 s of calls of 50 ms detected 10 % (AMD EPYC Turin (Zen 5), 2026-11-23).
"""
WITH_CASES = "Also the cases' benchmarks that `-k '{select}'` selects, the working tree against an equal HEAD."
WITHOUT_CASES = "The cases' benchmarks were left out (no `--select`)."


@dataclass(frozen=True)
class Goal:
    """A share of duels that must end, with `slowdown` between the sides, in this verdict within so many seconds."""

    name: str
    slowdown: float
    tolerance: float
    verdict: str
    share: float
    within: float = math.inf
    only: str | None = None


GOALS = (
    Goal("slowdown of 3 % detected", 0.03, TOLERANCE, "slower", 0.99),
    Goal("slowdown of 2 % detected with tolerance 2 %", *TIGHT, "slower", 0.95),
    Goal("slowdown of 5 % detected within 5 s", 0.05, TOLERANCE, "slower", 1.0, 5.0, "slow"),
    Goal("unchanged code `same` within 30 s", 0.0, TOLERANCE, "same", 0.95, 30.0),
)

NOISY = Goal("slowdown of 3 % detected", 0.03, TOLERANCE, "slower", 0.95)
QUIET = Goal("slowdown of 2 % detected with tolerance 2 %", *TIGHT, "slower", 0.95)


def case_goal(noise: int) -> Goal:
    """Return what must be detected of each case's benchmark, by the number of noisy neighbours."""
    return NOISY if noise else QUIET


@dataclass(frozen=True)
class Target:
    """One target. A target without a measurement is missed."""

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
    select: str | None = None
    sorting: Findings = field(default_factory=Findings)
    cases: Findings = field(default_factory=Findings)
    complaints: list[str] = field(default_factory=list)

    @property
    def everything(self) -> Findings:
        """Return the findings of the sorting and of the cases together."""
        parts = (self.sorting, self.cases)
        return Findings(
            [trial for part in parts for trial in part.trials],
            [other for part in parts for other in part.others],
            sum(part.seconds for part in parts),
        )

    def targets(self) -> list[Target]:
        """Return the targets: false alarms over all trials, the others for each length of sorting and each case."""
        same = [trial for trial in self.everything.trials if not trial.slowdown]
        flagged = sum(trial.verdict == "slower" for trial in same)
        targets = [
            Target(
                "unchanged code flagged `slower`", "0 of 1,000", _share(flagged, len(same)), bool(same) and not flagged
            )
        ]
        targets += [
            _target(goal, subject, self.sorting.of(subject, goal.slowdown, goal.tolerance))
            for goal in self.goals
            for subject in self.subjects
            if goal.only in {None, subject}
        ]
        goal = case_goal(self.noise)
        targets += [
            _target(goal, subject, self.cases.of(subject, goal.slowdown, goal.tolerance))
            for subject in self.cases.subjects
        ]
        targets += [Target("every case ran", "yes", complaint, met=False) for complaint in self.complaints]
        return targets

    def document(self) -> dict[str, Any]:
        """Return the run in JSON types."""
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
            "others": [asdict(other) for other in everything.others],
            "not_installed": self.missing,
        }

    def markdown(self) -> str:
        """Return the run as a text with tables."""
        everything = self.everything
        cases = WITH_CASES.format(select=self.select) if self.select else WITHOUT_CASES
        parts = [
            INTRODUCTION.format(alpha=ALPHA, budget=self.budget, cases=cases),
            f"Measured {self.date} in {everything.seconds / 60:.0f} minutes beside {self.noise} noisy neighbours:",
            f"{summary(self.machine)}; seed {self.seed}.\n",
            "## Targets\n",
            _table(("target", "wanted", "measured", "result"), map(_target_row, self.targets())),
            "## Duels\n",
            _table(DUEL_COLUMNS, _duel_rows(everything)),
            "## Power curve\n",
            "Share of duels that say `slower`, tolerance 3 %; each # is 5 %.\n",
            "```text\n" + "\n".join(_curve(everything)) + "\n```\n",
            "## Other tools\n",
            "Share of comparisons flagged as slower, by the true slowdown; last, the largest report at 0%.\n",
            _table(OTHER_COLUMNS, _other_rows(everything)),
            *(f"- {name}: not installed, not measured (it is in the extra `peers`)\n" for name in self.missing),
        ]
        return "\n".join(parts)


def limits(count: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of Clopper and Pearson for the share behind `count` of `of`."""
    interval = binomtest(count, of).proportion_ci(confidence_level=0.95, method="exact")
    return float(interval.low), float(interval.high)


DUEL_COLUMNS = (
    "work",
    "one call",
    "slowdown",
    "tolerance",
    "duels",
    "`slower`",
    "interval",
    "`same`",
    "`faster`",
    "`inconclusive`",
    "pairs",
    "most pairs",
    "seconds",
    "most seconds",
)
SHOWN = (0.0, *SLOWDOWNS)
OTHER_COLUMNS = ("rule", "work", "each", *(f"{slowdown:.0%}" for slowdown in SHOWN), "reported at 0%")


def _target(goal: Goal, subject: str, trials: list[Trial]) -> Target:
    reached = sum(trial.verdict == goal.verdict and trial.seconds <= goal.within for trial in trials)
    name = f"{goal.name}, {subject}"
    if not trials:
        return Target(name, f"{goal.share:.0%}", "not measured", met=False)
    seconds = [trial.seconds for trial in trials]
    spent = f"median {statistics.median(seconds):.1f} s, at most {max(seconds):.1f} s"
    measured = f"{_share(reached, len(trials))}, {spent}"
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
        if not any(other.subject == subject for other in findings.others):
            continue
        trials = [findings.of(subject, slowdown) for slowdown in SHOWN]
        cells = [_percent([trial.verdict == "slower" for trial in row]) for row in trials]
        worst = f"{max((1 / trial.ratio for trial in trials[0]), default=math.nan) - 1:+.1%}"
        yield "this gate", subject, _each(map(len, trials)), *cells, worst
        for rule in RULES:
            others = [
                [o for o in findings.others if (o.rule, o.subject, o.slowdown) == (rule, subject, slowdown)]
                for slowdown in SHOWN
            ]
            if any(others):
                worst = f"{max((other.ratio for other in others[0]), default=math.nan) - 1:+.1%}"
                cells = [_percent([other.flagged for other in row]) for row in others]
                yield rule, subject, _each(map(len, others)), *cells, worst


def _each(counts: Iterable[int]) -> str:
    """Return the number of comparisons behind each cell of a row."""
    counts = sorted(counts)
    return f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"


def _percent(flags: Sequence[bool]) -> str:
    return f"{sum(flags) / len(flags):.0%}" if flags else ""


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return table(header, rows, "pipe") + "\n"
