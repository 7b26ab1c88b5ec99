"""The last lines of a run, at most LINES: what failed and what to do first, headlines, where the results are."""

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .findings import Findings
from .words import number

Colour: TypeAlias = Literal["red", "yellow", "green", ""]
Line: TypeAlias = tuple[str, Colour]

LINES = 25
FAILURES = 5  # that are shown, of two lines each
OPEN = {"inconclusive", "slower, acknowledged"}  # verdicts that a person should look at
CASES = 8  # whose headlines are shown
SELFCHECK = "selfcheck.py"  # whose tests say nothing when they run alone
# By convention the duels with the case's baseline, of the full and of the quick run; others where there are none.
SPEEDUP, QUICK = "test_speedup", "test_speedup_quick"


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes:
        whole: whether it ended as pytest's hooks say: not by an interrupt, or by an error outside all tests.
        passed: the number of tests that passed.
        options: those that decide a verdict, as the command line has them.
        left_out: the number of benchmarks that belong to the full run only, and were left out.
        seconds: of the whole run.
    """

    whole: bool
    passed: int
    options: Sequence[str]
    left_out: int
    seconds: float


def closing(findings: Findings, ending: Ending, width: int) -> list[Line]:
    """Return the last lines of a run, none wider than `width`, with their colours."""
    lines = [*_verdict(findings, ending), *_failures(findings, ending), *_headlines(findings)]
    if ending.left_out:
        lines.append((f"left out, because they belong to the full run (--full): {ending.left_out} benchmarks", ""))
    if findings.results:
        lines.append(("results: " + ", ".join(findings.results), ""))
    return [(_clipped(text, width), colour) for text, colour in lines[:LINES]]


def _verdict(findings: Findings, ending: Ending) -> Iterator[Line]:
    minutes, seconds = divmod(round(ending.seconds), 60)
    total = f"in {minutes} min {seconds} s" if minutes else f"in {seconds} s"
    unsure = [row.name for row in findings.compared if row.verdict == "inconclusive"]
    unsure += [row.duel.name for row in findings.duels if row.saved_verdict == "inconclusive"]
    unsure += [row.name for row in findings.work if row.verdict == "not compared" and not row.removed]
    judged = [(row.name, row.acknowledged) for row in findings.compared]
    judged += [(row.name, row.acknowledged) for row in findings.memory]
    admitted = [name for name, entry in judged if entry and entry.admitted]
    if findings.failures:
        yield f"red: {len(findings.first_messages())} failed, {ending.passed} passed {total}", "red"
    elif not ending.whole:
        yield f"red: not by a failed test, but by what is shown above; {ending.passed} passed {total}", "red"
    elif unsure or admitted:
        parts = [f"{len(unsure)} without a verdict: {', '.join(unsure)}"] if unsure else []
        parts += [f"{len(admitted)} acknowledged: {', '.join(admitted)}"] if admitted else []
        yield f"yellow: {ending.passed} passed {total}; {'; '.join(parts)}", "yellow"
    else:
        yield f"green: {ending.passed} passed {total}", "green"


def _failures(findings: Findings, ending: Ending) -> Iterator[Line]:
    failed = list(findings.first_messages().items())
    for test, message in failed[:FAILURES]:
        yield test, "red"
        yield f"    {' '.join(message.removeprefix('AssertionError: ').split())}", ""
    if len(failed) > FAILURES:
        yield f"and {len(failed) - FAILURES} more, above", "red"
    tests = [test for test, _ in failed if SELFCHECK not in test]
    if tests:
        yield f"first: {shlex.join(['python', '-m', 'pytest', tests[0], *ending.options])}", ""


def _headlines(findings: Findings) -> Iterator[Line]:
    """Yield each case's greatest ratio against its baseline, and its verdicts against another revision."""
    least_first = sorted(findings.duels, key=lambda row: (SPEEDUP in row.test, QUICK not in row.test, row.duel.ratio))
    best = {_case(row.duel.name): row for row in least_first}
    for row in list(best.values())[:CASES]:
        low, high = row.duel.interval
        floor = f", floor {number(row.floor)} {row.floor_verdict}" if row.floor_verdict else ""
        times = f"{number(row.duel.ratio)} times faster ({number(low)} to {number(high)}{floor})"
        yield f"{row.duel.name}: {times}", "" if row.floor_verdict in (None, "holds") else "red"
    verdicts: dict[str, Counter[str]] = {}
    for compared in findings.compared:
        admitted = compared.acknowledged is not None and compared.acknowledged.admitted
        verdict = f"{compared.verdict}, acknowledged" if admitted else compared.verdict
        verdicts.setdefault(_case(compared.name), Counter())[verdict] += 1
    for case, counts in list(verdicts.items())[:CASES]:
        text = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        yield f"{case}: {text}", "red" if "slower" in counts else "yellow" if OPEN & counts.keys() else ""


def _case(name: str) -> str:
    return name.partition(" ")[0]


def _clipped(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(0, width - 3)]}..."
