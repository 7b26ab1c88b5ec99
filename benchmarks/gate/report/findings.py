"""All that a run found, in the order it found it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..compare.environments import Environments
from ..judge.acknowledged import Acknowledged
from ..judge.memory import MemoryRow
from ..judge.rules import JudgedDuel, RevisionRow
from ..judge.work import WorkRow


@dataclass(frozen=True)
class Note:
    """A number that a test recorded, with its unit."""

    test: str
    name: str
    value: float
    unit: str = ""


@dataclass(frozen=True)
class Failure:
    """A failed test, with the message of its first error."""

    test: str
    message: str


@dataclass(frozen=True)
class Series:
    """Numbers that a test recorded in their order, with their unit; infinity stands for what did not happen."""

    test: str
    name: str
    values: Sequence[float]
    unit: str = ""


@dataclass(frozen=True)
class BenchmarkRow:
    """One row of pytest-benchmark's tables, in seconds.

    Attributes:
        test: its id.
        group, name: as in the table.
        params: of the test, in JSON types.
        median, iqr, min, max: per call; the interquartile range is that of the rounds.
        rounds, iterations: how often it was timed, and the calls of each time.
    """

    test: str
    group: str | None
    name: str
    params: Mapping[str, Any]
    median: float
    iqr: float
    min: float
    max: float
    rounds: int
    iterations: int


@dataclass(frozen=True)
class DescribedVariant:
    """What a report says about one implementation of a case.

    Attributes:
        name: in the tests' parameters.
        sentence: what it does.
        promise: how its results compare with the baseline's.
        best: whether it is the case's best.
        device: where it runs.
    """

    name: str
    sentence: str = ""
    promise: str = ""
    best: bool = False
    device: str = "cpu"


@dataclass(frozen=True)
class Commit:
    """The commit of the working tree, and whether files differ from it."""

    hash: str
    dirty: bool


@dataclass(frozen=True)
class Run:
    """What a run was, beside what it found.

    Attributes:
        date: its end, in UTC and ISO 8601.
        commit: None outside git.
        versions: of Python and of the packages that the project declares, as installed.
        status: pytest's exit status.
        failed: why tests failed, by id.
        skipped: the reasons of the tests that were skipped, by id.
    """

    date: str
    commit: Commit | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    status: int = 0
    failed: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Findings:
    """All that a run found.

    Attributes:
        compared: benchmarks against another revision.
        work: of benchmarks whose files differ there, compared with the work of that revision's own.
        duels: duels with a floor or a saved run, or for the estimate alone.
        memory: comparisons of peak memory.
        unmeasured: names of the duels of a run with measuring off.
        notes: numbers that tests recorded.
        series: lists of numbers that tests recorded.
        benchmarks: pytest-benchmark's rows; only where a document is written.
        variants: of the cases that the run measured, the baseline first; likewise.
        titles: the tests' names in the report, by id, of those with notes.
        remarks: sentences about the run as a whole.
        results: files that were written.
        proven: sentences on what the run proved about itself.
        took: seconds by part of the run.
        environments: of the two sides, where their dependencies differ.
        acknowledged: what became of each acknowledged slowdown, by the test's id.
        failures: of tests, in order.
    """

    compared: list[RevisionRow] = field(default_factory=list)
    work: list[WorkRow] = field(default_factory=list)
    duels: list[JudgedDuel] = field(default_factory=list)
    memory: list[MemoryRow] = field(default_factory=list)
    unmeasured: list[str] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    benchmarks: list[BenchmarkRow] = field(default_factory=list)
    variants: dict[str, Sequence[DescribedVariant]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    proven: list[str] = field(default_factory=list)
    took: dict[str, float] = field(default_factory=dict)
    environments: Environments | None = None
    acknowledged: dict[str, Acknowledged] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    def first_messages(self) -> dict[str, str]:
        """Return the message of each failed test's first error, by id."""
        messages: dict[str, str] = {}
        for failure in self.failures:
            messages.setdefault(failure.test, failure.message)
        return messages

    def __bool__(self) -> bool:
        return bool(self.compared or self.duels or self.memory or self.unmeasured or self.notes or self.remarks)
