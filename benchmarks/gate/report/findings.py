"""All that a run found, in the order it found it."""

from dataclasses import dataclass, field

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
    titles: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    proven: list[str] = field(default_factory=list)
    took: dict[str, float] = field(default_factory=dict)
    environments: Environments | None = None
    acknowledged: dict[str, Acknowledged] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.compared or self.duels or self.memory or self.unmeasured or self.notes or self.remarks)
