"""A document's facts in the order in which the page shows them: by case, then against another revision."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any

from ..words import number

Facts = Mapping[str, Any]
# What benchmark modules call the duels with the baseline, of the full and of the quick run, and their table.
SPEEDUP, QUICK, TIME = "test_speedup", "test_speedup_quick", "test_time"
VARIANT, REFERENCE = "variant", "reference"  # what they call the parameters


@dataclass(frozen=True)
class Rung:
    """How many times faster than the baseline one variant is.

    Attributes:
        variant: its name.
        detail: the other parameters of the test, such as a size.
        duel: the duel's row; None where two medians of pytest-benchmark's table are divided, which proves nothing.
        ratio, low, high, floor: None where they are unknown.
        reference, candidate: seconds per call.
        source: the duel's test, or the group of the table that has the two medians.
    """

    variant: str
    detail: str
    duel: Facts | None
    ratio: float | None
    reference: float | None
    candidate: float | None
    low: float | None = None
    high: float | None = None
    floor: float | None = None
    source: str = ""

    @property
    def label(self) -> str:
        """Return the variant with what distinguishes its rungs."""
        return f"{self.variant}, {self.detail}" if self.detail else self.variant


@dataclass(frozen=True)
class Cost:
    """A quantity of one variant, the baseline's (None for a share, 1.0), and a bar: a share of the longest."""

    value: float
    bar: float
    of: float | None = None


@dataclass(frozen=True)
class Costs:
    """What a call of one variant takes; None is unknown."""

    variant: str
    time: Cost | None
    cpu: Cost | None
    memory: Cost | None


@dataclass(frozen=True)
class NoteTable:
    """The notes of the tests of one function: a row per test, a column per name."""

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Facts | None]]]


@dataclass
class Case:
    """What the page shows of one case.

    Attributes:
        name: of the case.
        variants: as the document has them, or by their names alone.
        unmeasured: the reasons of its skipped tests, by id.
        ladder, costs: of its variants.
        duels: all of them.
        others: those that are not on the ladder.
        memory: comparisons of peak memory with another variant.
        series: those with a number; `silent` are the others.
        notes: by function.
        groups: the rows of pytest-benchmark's tables that are no duels.
    """

    name: str
    variants: list[Facts] = field(default_factory=list)
    unmeasured: dict[str, str] = field(default_factory=dict)
    ladder: list[Rung] = field(default_factory=list)
    costs: list[Costs] = field(default_factory=list)
    duels: list[Facts] = field(default_factory=list)
    others: list[Facts] = field(default_factory=list)
    memory: list[Facts] = field(default_factory=list)
    series: list[Facts] = field(default_factory=list)
    silent: list[Facts] = field(default_factory=list)
    notes: list[NoteTable] = field(default_factory=list)
    groups: list[tuple[str, list[Facts]]] = field(default_factory=list)

    @property
    def baseline(self) -> str:
        """Return the name of the first variant."""
        return str(self.variants[0]["name"]) if self.variants else "baseline"


def case_of(test: str) -> str:
    """Return the case that a test's id is about: its module's name."""
    return PurePosixPath(test.partition("::")[0]).stem.removeprefix("test_")


def function_of(test: str) -> str:
    """Return the name of a test's function."""
    return test.partition("[")[0].rpartition("::")[2]


def title_of(test: str) -> str:
    """Return a test's id as a few words: without the file, and its parameters behind a colon."""
    function, _, params = (test.partition("::")[2] or test).partition("[")
    return ": ".join(filter(None, (function.removeprefix("test_").replace("_", " "), params.removesuffix("]"))))


def cases(document: Facts) -> list[Case]:
    """Return the cases that the run measured, apart from comparisons with another revision."""
    compared = {row["test"] for row in (document["revision"] or {}).get("benchmarks", ())}
    rows = [row for row in document["benchmarks"] if row["test"] not in compared]
    memory = [row for row in document["memory"] if row["revision_verdict"] is None]
    parts = {"duels": document["duels"], "memory": memory, "series": document["series"], "notes": document["notes"]}
    tests = [row["test"] for part in (rows, *parts.values()) for row in part if row["test"] not in compared]
    found = []
    for name in sorted({case_of(test) for test in tests}):
        mine = {key: [row for row in part if case_of(row["test"]) == name] for key, part in parts.items()}
        table = [row for row in rows if case_of(row["test"]) == name]
        found.append(_case(name, document, table, **mine))
    return found


def _case(
    name: str,
    document: Facts,
    table: list[Facts],
    *,
    duels: list[Facts],
    memory: list[Facts],
    series: list[Facts],
    notes: list[Facts],
) -> Case:
    case = Case(name, duels=duels, memory=memory)
    for row in series:
        happened = any(value is not None for value in row["values"])
        (case.series if happened else case.silent).append(row)
    case.variants = list(document["variants"].get(name, ())) or _undescribed([*table, *memory])
    params = {row["test"]: row["params"] for row in table}
    case.ladder = _ladder(case, table, params)
    on_ladder = [rung.duel for rung in case.ladder if rung.duel]
    case.others = [duel for duel in duels if duel not in on_ladder]
    case.costs = _costs(case, memory)
    case.notes = _notes(notes)
    of_duels = {duel["test"] for duel in duels}
    groups: dict[str, list[Facts]] = {}
    for row in table:
        if row["test"] not in of_duels:
            groups.setdefault(row["group"] or name, []).append(row)
    case.groups = list(groups.items())
    for test, reason in document["outcome"]["skipped"].items():
        if case_of(test) == name:
            case.unmeasured[test] = reason
    return case


def _undescribed(rows: Iterable[Facts]) -> list[Facts]:
    """Return the variants by their names alone, in the order of the tests, where no plugin describes them."""
    names = dict.fromkeys(str(row["params"][VARIANT]) for row in rows if VARIANT in row["params"])
    return [{"name": name, "sentence": "", "promise": "", "best": False, "device": "cpu"} for name in names]


def _ladder(case: Case, table: Sequence[Facts], params: Mapping[str, Facts]) -> list[Rung]:
    """Return the rungs, variant by variant: its duels with the baseline, or else the ratio of two medians."""
    rungs: list[Rung] = []
    for variant in [str(each["name"]) for each in case.variants[1:]]:
        ours = [
            duel
            for duel in case.duels
            if params.get(duel["test"], {}).get(VARIANT) == variant
            and params[duel["test"]].get(REFERENCE, case.baseline) == case.baseline
        ]
        duels = _named(ours, SPEEDUP) or _named(ours, QUICK)
        rungs += [_proven(variant, duel, params[duel["test"]] if len(duels) > 1 else {}) for duel in duels]
        if not duels and (rung := _by_medians(case, variant, table)):
            rungs.append(rung)
    return rungs


def _named(duels: Iterable[Facts], function: str) -> list[Facts]:
    return [duel for duel in duels if function_of(duel["test"]) == function]


def _proven(variant: str, duel: Facts, params: Facts) -> Rung:
    low, high = duel["interval"]
    return Rung(
        variant,
        _detail(params),
        duel,
        duel["ratio"],
        duel["reference"],
        duel["candidate"],
        low,
        high,
        duel["floor"],
        duel["test"],
    )


def _by_medians(case: Case, variant: str, table: Sequence[Facts]) -> Rung | None:
    """Return a rung from the group of pytest-benchmark's table in which the baseline takes longest."""
    rows: dict[str, dict[str, Facts]] = {}
    for row in table:
        if function_of(row["test"]) == TIME and VARIANT in row["params"]:
            rows.setdefault(row["group"] or "", {})[row["params"][VARIANT]] = row
    both = [(group, found) for group, found in rows.items() if {case.baseline, variant} <= set(found)]
    if not both:
        return None
    group, found = max(both, key=lambda each: each[1][case.baseline]["median"])
    reference, candidate = found[case.baseline]["median"], found[variant]["median"]
    ratio = reference / candidate if candidate else None
    return Rung(variant, "", None, ratio, reference, candidate, source=group)


def _detail(params: Facts) -> str:
    return ", ".join(
        f"{key} {number(value) if isinstance(value, float) else value}"
        for key, value in params.items()
        if key not in {VARIANT, REFERENCE}
    )


def _costs(case: Case, memory: Sequence[Facts]) -> list[Costs]:
    """Return time, CPU time and peak memory, side by side; bars of times are shares of the baseline's, or longer."""
    peaks: dict[str, float] = {}
    for row in memory:
        if VARIANT in row["params"]:
            peaks[row["params"][VARIANT]] = row["candidate_bytes"]
        if REFERENCE in row["params"]:
            peaks.setdefault(row["params"][REFERENCE], row["reference_bytes"])
    rungs: dict[str, Rung] = {}
    for rung in case.ladder:
        rungs.setdefault(rung.variant, rung)
    times = {name: (rung.candidate, rung.reference) for name, rung in rungs.items()}
    cpus = {
        name: (rung.duel["cpu"]["candidate"], rung.duel["cpu"]["reference"])
        for name, rung in rungs.items()
        if rung.duel and rung.duel["cpu"]
    }
    longest = max([1.0, *(share for pairs in (times, cpus) for share in map(_share, pairs.values()) if share)])
    most = max(peaks.values(), default=0.0)
    found = []
    for name in [str(each["name"]) for each in case.variants]:
        whole = Cost(1.0, 1 / longest) if name == case.baseline and times else None
        cost = Costs(
            name,
            whole or _relative(times.get(name), longest),
            (whole if cpus else None) or _relative(cpus.get(name), longest),
            Cost(peaks[name], peaks[name] / most if most else 0.0) if name in peaks else None,
        )
        if cost.time or cost.cpu or cost.memory:
            found.append(cost)
    return found


def _share(pair: tuple[float | None, float | None]) -> float | None:
    candidate, reference = pair
    return candidate / reference if candidate is not None and reference else None


def _relative(pair: tuple[float | None, float | None] | None, longest: float) -> Cost | None:
    if pair is None or pair[0] is None or (share := _share(pair)) is None:
        return None
    return Cost(pair[0], share / longest, pair[1])


def _notes(notes: Sequence[Facts]) -> list[NoteTable]:
    tables = []
    by_function = sorted(notes, key=lambda note: function_of(note["test"]))  # stable: the tests stay in their order
    for function, group in groupby(by_function, key=lambda note: function_of(note["test"])):
        found = list(group)
        columns = list(dict.fromkeys(note["name"] for note in found))
        tests: dict[str, dict[str, Facts]] = {}
        for note in found:
            tests.setdefault(note["test"], {})[note["name"]] = note
        rows = [
            (title_of(test).partition(": ")[2] or title_of(test), [by_name.get(name) for name in columns])
            for test, by_name in tests.items()
        ]
        tables.append(NoteTable(function.removeprefix("test_").replace("_", " "), columns, rows))
    return tables
