"""The verdicts of other tools: their own rules, on samples taken one side after the other, as they take them.

A block is the time of every single call in two seconds of calls without a pause. Each rule gets the samples that the
tool takes by default:

- pytest-benchmark: every call of the first second is a round; its own check compares the medians.
- pyperf: values of at least 0.1 s each, 20 at most. Its default is 60, three from each of 20 processes.
- asv: ten samples of at least 10 ms each, as by default, but from one process and not two.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from pytest_benchmark.utils import parse_compare_fail

from ..measure.timing import Work

BLOCK = 2.0  # seconds
WARM_UP = 0.1  # seconds, as in asv
LEAST_CALLS = 20

Result: TypeAlias = tuple[bool, float]  # whether it is flagged as slower, and time(candidate) / time(reference)
Rule: TypeAlias = Callable[[Sequence[float], Sequence[float]], Result]


def block(work: Work) -> list[float]:
    """Return the seconds of each call, in the order they were made."""
    times: list[float] = []
    start = now = time.perf_counter()
    while now < start + WARM_UP:
        work()
        now = time.perf_counter()
    until = now + BLOCK
    while now < until or len(times) < LEAST_CALLS:
        work()
        before, now = now, time.perf_counter()
        times.append(now - before)
    return times


def grouped(times: Sequence[float], least: float, most: int) -> tuple[list[float], int]:
    """Return seconds per call of up to `most` groups of calls of at least `least` seconds, and the calls per group."""
    number = min(len(times), max(1, math.ceil(least / statistics.median(times))))
    starts = range(0, len(times) - number + 1, number)
    return [statistics.fmean(times[start : start + number]) for start in starts][:most], number


def pytest_benchmark_rule(reference: Sequence[float], candidate: Sequence[float]) -> Result:
    """Apply --benchmark-compare-fail=median:5%."""
    medians = [statistics.median(first_second(times)) for times in (reference, candidate)]
    check = parse_compare_fail("median:5%")  # type: ignore[no-untyped-call] # it has no types
    return check.fails({"median": medians[1]}, {"median": medians[0]}) is not None, medians[1] / medians[0]


def first_second(times: Sequence[float]) -> list[float]:
    """Return the times until their sum is a second, five at least: --benchmark-max-time and --benchmark-min-rounds."""
    total, count = 0.0, 0
    while count < len(times) and (total < 1.0 or count < 5):
        total += times[count]
        count += 1
    return list(times[:count])


def pyperf_rule(reference: Sequence[float], candidate: Sequence[float]) -> Result:
    """Apply `pyperf compare_to`: slower and "significant", by a t-test at 95 %."""
    import pyperf  # noqa: PLC0415 - optional
    from pyperf._compare import CompareData, CompareResult  # noqa: PLC0415 - optional

    values = [grouped(times, 0.1, 20)[0] for times in (reference, candidate)]
    count = min(map(len, values))  # it calls samples of unequal size significant in any case
    data = [
        CompareData("", pyperf.Benchmark([pyperf.Run(v[:count], metadata={"name": "x"}, collect_metadata=False)]))
        for v in values
    ]
    result = CompareResult(*data)
    return bool(result.significant and result.norm_mean > 1), float(result.norm_mean)


def asv_rule(reference: Sequence[float], candidate: Sequence[float]) -> Result:
    """Apply `asv continuous`: a factor of 1.1 between medians, and a Mann-Whitney U test at 0.002."""
    from asv.commands.compare import _is_result_better  # noqa: PLC0415 - optional, and the rule is there
    from asv_runner.statistics import compute_stats  # noqa: PLC0415 - optional

    medians, samples = [], []
    for times in (reference, candidate):
        values, number = grouped(times, 0.01, 10)
        median, stats = compute_stats(values, number)
        medians.append(median)
        samples.append((stats, values))
    return bool(_is_result_better(*medians, *samples, 1.1)), medians[1] / medians[0]


RULES: dict[str, Rule] = {
    "pytest-benchmark, `--benchmark-compare-fail=median:5%`": pytest_benchmark_rule,
    "pyperf, `compare_to`": pyperf_rule,
    "asv, `continuous`": asv_rule,
}


def installed() -> dict[str, Rule | None]:
    """Return the rules by name, with None for a tool that is not installed."""
    ones = [1.0 + i / 1000 for i in range(LEAST_CALLS)]
    rules: dict[str, Rule | None] = {}
    for name, rule in RULES.items():
        try:
            rule(ones, ones)
        except ImportError:
            rules[name] = None
        else:
            rules[name] = rule
    return rules
