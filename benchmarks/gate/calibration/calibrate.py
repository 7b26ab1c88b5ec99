"""Measure the gate's error rates, live, on this machine: `python -m benchmarks.gate.calibration.calibrate --help`."""

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
from .findings import GOALS, Calibration, Goal
from .neighbours import NeighbourError, disturbed
from .other_tools import installed
from .trials import Job, Subject, jobs_of, measure, mixed, sorting_subject

LONGEST = 3 * 3600.0  # seconds after which disturbing processes end whatever happens


@dataclass(frozen=True)
class Workload:
    """Work of one length, and its parts of all A/A duels, of the trials of a slowdown, and of the rivals' sets.

    The longer a call, the fewer, and none of 50 ms: beside three neighbours on two cores there are 140 pairs of such in
    the 30 s of a duel, which told 10 % and nothing less (AMD EPYC Turin (Zen 5), 2026-11-23).
    """

    subject: Subject
    same: float
    trials: float
    rivals: float


# Some 0.3, 3 and 5 ms, where nobody disturbs.
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
    """Run, write the report, and return the exit status: 1 where a goal is missed, 2 where it could not be measured."""
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
    )
    sys.stdout.write(f"{machine.summary(run.machine)}; disturbing processes: {options.noise}; --seed {seed}\n")
    try:
        with disturbed(options.noise, LONGEST, seed) as check:
            jobs = tqdm(plan(workloads, options, seed), desc="sorting", unit="trial", disable=None)
            measure(jobs, run.sorting, rules, budget=options.budget, seed=seed)
            check()
            if options.cases:
                run.complaints = cases(run.cases, rules, options, seed)
    except (NeighbourError, CasesError) as error:
        sys.stderr.write(f"calibrate: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("calibrate: interrupted, nothing is written\n")
        return 130
    return report(run, options)


def plan(workloads: Sequence[Workload], options: argparse.Namespace, seed: int) -> list[Job]:
    """Return all jobs of the sorting, mixed."""
    counts = zip(
        split(options.aa, [w.same for w in workloads]),
        split(options.trials, [w.trials for w in workloads]),
        split(options.rivals, [w.rivals for w in workloads]),
        strict=True,
    )
    rows = [
        row for workload, numbers in zip(workloads, counts, strict=True) for row in jobs_of(workload.subject, *numbers)
    ]
    return mixed(rows, seed)


def split(total: int, parts: Sequence[float]) -> list[int]:
    """Return `total` split like `parts`, one each at least as far as it goes, and the first takes what is over."""
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
    """Read the options; exits with status 2 for those that make no sense."""
    parser = argparse.ArgumentParser(prog="calibrate", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--noise", type=_number(0), default=3, metavar="N", help="disturbing processes (default: 3)")
    add("--aa", type=_number(1), default=1000, metavar="N", help="duels of unchanged code (default: 1000)")
    add("--trials", type=_number(1), default=100, metavar="N", help="duels of each slowdown (default: 100)")
    add("--rivals", type=_number(0), default=20, metavar="N", help="comparisons by other tools' rules (default: 20)")
    add("--budget", type=_seconds, default=30.0, metavar="SECONDS", help="of a duel, as in pytest (default: 30)")
    add("--cases", action=argparse.BooleanOptionalAction, default=True, help="each case's optimised variant too")
    add("--case-seconds", type=_seconds, default=120.0, metavar="SECONDS", help="for each case (default: 120)")
    add("--output", type=Path, default=Path(".results/calibration.md"), metavar="FILE", help="the report, in Markdown")
    add("--json", type=Path, metavar="FILE", help="every trial, in JSON")
    add("--seed", type=int, metavar="N", help="of coins, orders and neighbours (default: a new one, and printed)")
    return parser.parse_args(arguments)


def _number(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{least} at least, not {text}")
        return value

    return number


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < LONGEST:
        raise argparse.ArgumentTypeError(f"a number of seconds, not {text}")
    return value


if __name__ == "__main__":
    sys.exit(main())
