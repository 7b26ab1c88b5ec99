"""Measure the gate's error rates on this machine."""

import argparse
import datetime as dt
import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ..measure import machine
from .cases import CasesError, measure_cases
from .neighbours import NeighbourError, noisy_neighbours
from .other_tools import installed
from .results import GOALS, Calibration, Goal
from .trials import Job, Subject, jobs_of, measure, mixed, sorting_subject

LONGEST = 3 * 3600.0  # seconds after which the noisy neighbours end in any case


@dataclass(frozen=True)
class Workload:
    """Work of one length, and its shares of the A/A duels, of the trials per slowdown, and of the other tools' samples.

    The longer a call, the fewer duels, and none of 50 ms: beside three noisy neighbours on two cores the 30 s of a duel
    give 140 such pairs, which detected 10 % and nothing less (AMD EPYC Turin (Zen 5), 2026-11-23).
    """

    subject: Subject
    same: float
    trials: float
    other_tools: float


# Some 0.3, 3 and 5 ms on a quiet machine.
WORKLOADS = (
    Workload(sorting_subject("fast", 16), 0.9, 0.55, 0.4),
    Workload(sorting_subject("middling", 170), 0.09, 0.35, 0.4),
    Workload(sorting_subject("slow", 340), 0.01, 0.1, 0.2),
)


def main(
    arguments: Sequence[str] | None = None,
    *,
    workloads: Sequence[Workload] = WORKLOADS,
    goals: Sequence[Goal] = GOALS,
    cases: Callable[..., list[str]] = measure_cases,
) -> int:
    """Run, write the report, and return the exit status: 1 for a missed goal, 2 if a goal could not be measured."""
    options = parse(arguments)
    seed = random.SystemRandom().getrandbits(32) if options.seed is None else options.seed
    rules = installed()
    run = Calibration(
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        machine=machine.describe(),
        noise=options.noise,
        budget=options.budget,
        seed=seed,
        goals=goals,
        subjects=[workload.subject.name for workload in workloads],
        missing=[name for name, rule in rules.items() if rule is None],
        select=options.select,
    )
    if not options.select:
        sys.stdout.write("the cases are left out: --select EXPRESSION selects their benchmarks\n")
    sys.stdout.write(f"{machine.summary(run.machine)}; noisy neighbours: {options.noise}; --seed {seed}\n")
    try:
        with noisy_neighbours(options.noise, LONGEST, seed) as check:
            jobs = tqdm(plan(workloads, options, seed), desc="sorting", unit="trial", disable=None)
            measure(jobs, run.sorting, rules, budget=options.budget, seed=seed)
            check()
            if options.select:
                run.complaints = cases(run.cases, rules, options, seed)
    except (NeighbourError, CasesError) as error:
        sys.stderr.write(f"calibration: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("calibration: interrupted, nothing is written\n")
        return 130
    return report(run, options)


def plan(workloads: Sequence[Workload], options: argparse.Namespace, seed: int) -> list[Job]:
    """Return all jobs of the sorting, mixed."""
    counts = zip(
        split(options.aa, [w.same for w in workloads]),
        split(options.trials, [w.trials for w in workloads]),
        split(options.other_tools, [w.other_tools for w in workloads]),
        strict=True,
    )
    rows = [
        row for workload, numbers in zip(workloads, counts, strict=True) for row in jobs_of(workload.subject, *numbers)
    ]
    return mixed(rows, seed)


def split(total: int, parts: Sequence[float]) -> list[int]:
    """Return `total` split in the ratio of `parts`, at least one each while it lasts; the first gets the remainder."""
    counts = [min(max(1, round(total * part)), total) for part in parts[1:]]
    while sum(counts) > total:
        counts[counts.index(max(counts))] -= 1
    return [total - sum(counts), *counts]


def report(run: Calibration, options: argparse.Namespace) -> int:
    """Write the files and the summary; return the exit status."""
    texts = {options.output: run.markdown(), options.json: json.dumps(run.document(), indent=1) + "\n"}
    for path, text in texts.items():
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    targets = run.targets()
    for target in targets:
        sys.stdout.write(f"{'met   ' if target.met else 'MISSED'}  {target.name}: {target.measured}\n")
    missed = sum(not target.met for target in targets)
    everything = run.everything
    sys.stdout.write(
        f"calibrated in {everything.seconds / 60:.1f} minutes: {len(everything.trials):,} duels, "
        f"{len(targets) - missed} of {len(targets)} targets met; results: "
        f"{', '.join(str(path) for path in texts if path)}\n"
    )
    return 1 if missed else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the options; exits with status 2 if one makes no sense."""
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--noise", type=_number(0), default=3, metavar="N", help="noisy neighbours (default: 3)")
    add("--aa", type=_number(1), default=1000, metavar="N", help="duels of unchanged code (default: 1000)")
    add("--trials", type=_number(1), default=100, metavar="N", help="duels of each slowdown (default: 100)")
    add("--other-tools", type=_number(0), default=20, metavar="N", help="comparisons by their rules (default: 20)")
    add("--budget", type=_seconds, default=30.0, metavar="SECONDS", help="of a duel, as in pytest (default: 30)")
    add("--select", metavar="EXPRESSION", help="also the cases' benchmarks that -k EXPRESSION selects")
    add(
        "--case-seconds",
        type=_seconds,
        default=120.0,
        metavar="SECONDS",
        help="for each benchmark that --select selects (default: 120)",
    )
    add(
        "--targets-only",
        action="store_true",
        help="of --select's benchmarks, measure unchanged code and the slowdown that has a target, and nothing else",
    )
    add("--output", type=Path, default=Path(".results/calibration.md"), metavar="FILE", help="the report, in Markdown")
    add("--json", type=Path, metavar="FILE", help="every trial, in JSON")
    add("--seed", type=int, metavar="N", help="of coins, orders and neighbours (default: a new one, and printed)")
    return parser.parse_args(arguments)


def _number(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"at least {least}, not {text}")
        return value

    return number


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < LONGEST:
        raise argparse.ArgumentTypeError(f"a number of seconds, not {text}")
    return value
