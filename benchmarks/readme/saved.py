"""The saved run that README quotes, as rows. Cases, variants and opponents come from the run's own test ids."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["RUN", "Duel", "FullSize", "Peak", "Run", "Step", "read"]

RUN = "benchmarks/baselines/Linux-CPython-3.11-64bit/0005_2ab610a.json"  # the one place that names it

BASELINE = "baseline"
VERDICTS = {"above": "holds", "below": "broken", "open": "unproven"}
Benchmark = dict[str, Any]  # as pytest-benchmark saves it


@dataclass(frozen=True)
class Duel:
    """One duel.

    Attributes:
        case: the word that names the module.
        test: the test's name in words.
        variant: the candidate, or None where the test does not name one: the case's best.
        against: whom the test's id names as the other side, or None.
        size: parameters that are numbers, in words.
        ratio: how many times faster the candidate is.
        interval: of the ratio.
        coverage: of the interval.
        floor: the least ratio that is asserted, or None.
        verdict: on the floor: "holds", "broken" or "unproven".
        pairs: how many there were.
    """

    case: str
    test: str
    variant: str | None
    against: str | None
    size: str
    ratio: float
    interval: tuple[float, float]
    coverage: float
    floor: float | None
    verdict: str
    pairs: int


class FullSize(NamedTuple):
    """The ratio of two medians in pytest-benchmark's table, at the case's last size, and the fewest rounds of both."""

    ratio: float
    size: str
    rounds: int


class Peak(NamedTuple):
    """Peak memory in bytes, and its share of what the case compares it with."""

    peak: int
    share: float


@dataclass(frozen=True)
class Step:
    """A variant: its duels with the variants before it, its ratio at full size, and its peak memory."""

    case: str
    variant: str
    duels: tuple[Duel, ...]
    full_size: FullSize | None
    memory: Peak | None


@dataclass(frozen=True)
class Run:
    """A saved run.

    Attributes:
        path: relative to the repository's root.
        commit: in short.
        date: the day on which it ended, UTC.
        machine: in words: processor, cores, instruction sets, Python and libraries.
        steps: the variants after the baselines, in the order of the cases' VARIANTS.
        others: all other duels: with peers, limits and other loaders.
    """

    path: str
    commit: str
    date: str
    machine: tuple[str, ...]
    steps: tuple[Step, ...]
    others: tuple[Duel, ...]


def read(root: Path, path: str = RUN) -> Run:
    """Read a run that pytest-benchmark saved with the gate's plugin."""
    content = json.loads((root / path).read_text(encoding="utf-8"))
    benchmarks = content["benchmarks"]
    duels = [_duel(bench) for bench in benchmarks if "duel" in bench["extra_info"]]
    steps = tuple(_steps(benchmarks, duels, content["gate"]["memory"]))
    on_steps = {id(duel) for step in steps for duel in step.duels}
    return Run(
        path=path,
        commit=content["commit_info"]["id"][:7],
        date=content["datetime"][:10],
        machine=_machine(content["machine_info"]),
        steps=steps,
        others=tuple(duel for duel in duels if id(duel) not in on_steps),
    )


def _machine(info: dict[str, Any]) -> tuple[str, ...]:
    gate, cpu = info["gate"], info["cpu"]
    return (
        f"{gate['processor']} (family {cpu['family']}, model {cpu['model']})",
        f"{gate['cores']} cores",
        " ".join(gate["instruction_sets"]),
        gate["python_full"],
        *(f"{name} {gate[name.lower()]}" for name in ("torch", "NumPy", "Numba")),
    )


def _place(test: str) -> tuple[str, str]:
    """Return the case and the name of the test's function."""
    found = re.fullmatch(r"benchmarks/test_(\w+)\.py::(\w+)(\[.*\])?", test)
    if found is None:
        raise ValueError(f"{test} is no test of a benchmark module")
    return found[1], found[2]


def _duel(bench: Benchmark) -> Duel:
    case, function = _place(bench["fullname"])
    others = {name: value for name, value in (bench["params"] or {}).items() if name != "variant"}
    names = [value for value in others.values() if isinstance(value, str)]
    duel = bench["extra_info"]["duel"]
    answer = duel["answers"].get("floor")
    return Duel(
        case=case,
        test=function.removeprefix("test_").replace("_", " "),
        variant=(bench["params"] or {}).get("variant"),
        against=names[0] if names else None,
        size=", ".join(f"{name} {value:,}" for name, value in others.items() if not isinstance(value, str)),
        ratio=duel["ratio"],
        interval=tuple(duel["interval"]),
        coverage=duel["coverage"],
        floor=answer and answer["question"]["above"],
        verdict=VERDICTS[answer["verdict"]] if answer else "",
        pairs=duel["pairs"],
    )


def _steps(benchmarks: list[Benchmark], duels: Iterable[Duel], peaks: dict[str, list[int]]) -> Iterator[Step]:
    """Yield the variants of each case: all that its table of times has, in its order."""
    table: dict[str, dict[str, list[Benchmark]]] = {}
    for bench in benchmarks:
        case, function = _place(bench["fullname"])
        if function == "test_time":
            table.setdefault(case, {}).setdefault(bench["params"]["variant"], []).append(bench)
    claims = [duel for duel in duels if duel.test == "speedup"]
    for case, variants in table.items():
        last = variants[BASELINE][-1]
        for variant, rows in variants.items():
            if variant != BASELINE:
                yield Step(
                    case,
                    variant,
                    tuple(duel for duel in claims if (duel.case, duel.variant) == (case, variant)),
                    _full_size(case, last, [row for row in rows if row["group"] == last["group"]]),
                    _memory(case, variant, peaks),
                )


def _full_size(case: str, baseline: Benchmark, rows: list[Benchmark]) -> FullSize | None:
    if not rows:
        return None
    (row,) = rows
    return FullSize(
        baseline["stats"]["median"] / row["stats"]["median"],
        row["group"].removeprefix(f"{case} "),
        min(baseline["stats"]["rounds"], row["stats"]["rounds"]),
    )


def _memory(case: str, variant: str, peaks: dict[str, list[int]]) -> Peak | None:
    for test, (reference, candidate) in peaks.items():
        names = test.rpartition("[")[2].rstrip("]").split("-")  # a variant's name has no hyphen
        if _place(test)[0] == case and names[-1] == variant:
            return Peak(candidate, candidate / reference)
    return None
