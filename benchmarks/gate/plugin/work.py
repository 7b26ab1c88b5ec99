"""The work of the benchmarks: do their files differ at the other revision, and if so, do they do less here?"""

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias

import pytest

from ..compare.revision import Revision
from ..compare.work.changes import benchmark_files
from ..compare.work.observe import Observation, observe
from ..compare.work.there import Recorded
from ..judge.completeness import admits
from ..judge.work import WorkRow
from ..measure.timing import Side, settled_memory
from .progress import announce
from .requested import requested_paths

Record: TypeAlias = Callable[[Collection[str]], dict[str, Recorded]]


@dataclass
class Works:
    """The work of one session's benchmarks.

    Attributes:
        revision: the other one; None where nothing is compared.
        tests: ids of this run's tests with the fixture `against`.
        others: ids of those that were deselected.
        collected: the paths that pytest collects, relative to its root.
        modules: the files of the tests, likewise.
        removed: names whose smaller work is admitted.
        record: runs tests at the revision, by id, and returns what their work did.
        announce: shows what takes long.
        recorded: what the revision's own benchmarks do, by id; None if that was not asked.
        rows: the comparisons, by id.
        remarks: sentences about the run.
        silent: files that say nothing about the work, relative to the root.
    """

    revision: Revision | None = None
    tests: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    collected: tuple[str, ...] = ()
    modules: frozenset[str] = frozenset()
    removed: tuple[str, ...] = ()
    record: Record = lambda _: {}
    announce: Callable[[str], None] = print
    recorded: dict[str, Recorded] | None = None
    rows: dict[str, WorkRow] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    silent: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        config: pytest.Config,
        revision: Revision,
        removed: Iterable[str],
        *,
        wanted: Iterable[pytest.Item],
        others: Iterable[pytest.Item],
        record: Record,
        silent: Iterable[str] = (),
    ) -> "Works":
        """Return the works of these tests, or of those that were deselected."""
        tests = frozenset(item.nodeid for item in wanted)
        rest = frozenset(item.nodeid for item in others if "against" in getattr(item, "fixturenames", ()))
        modules = frozenset(test.partition("::")[0] for test in tests)
        show = partial(announce, config)
        paths = tuple(requested_paths(config))
        return cls(
            revision, tests, rest - tests, paths, modules, tuple(removed), record, show, silent=frozenset(silent)
        )

    def wants(self, test: str, package: str) -> bool:
        """Return whether to compare a test's work: files of the benchmarks differ, and the revision has the test.

        The first test of which that is so runs the revision's own benchmarks, of all tests of this run.

        Raises:
            RevisionError: git cannot say what differs, or cannot unpack the revision.
        """
        if self.revision is None:
            return False
        files = benchmark_files(
            [name for name in self.revision.changed if name not in self.silent],
            self.revision.root,
            package,
            collected=self.collected,
            modules=self.modules,
        )
        if not files:
            return False
        if self.recorded is None:
            self.announce(f"files of the benchmarks differ at {self.revision}: its own run there once, for their work")
            start = time.monotonic()
            self.recorded = self.record(self.tests)
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            self.remarks.append(
                f"files of the benchmarks differ at {self.revision} ({files[0]}{more}), so its own ran once, for their "
                f"work: {len(self.recorded)} in {time.monotonic() - start:.0f} s"
            )
        return test in self.recorded

    def compare(self, name: str, test: str, reference: Side) -> None:
        """Compare a benchmark's work with that of the revision's own, once: the row is kept.

        A benchmark whose work shrank is asked again, in a fresh process and here: noise only adds to the time.

        Args:
            name: in the report.
            test: its id, which `wants` was asked.
            reference: the work of this benchmark, with the revision's package.
        """
        there = (self.recorded or {})[test]
        if test in self.rows or self.revision is None:
            return
        row = WorkRow(name, test, str(self.revision), removed=any(admits(each, test) for each in self.removed))
        if isinstance(there, str):
            row = replace(row, reason=f"the benchmark of {self.revision} does not run there: {there}")
        else:
            try:
                here = _observed(reference)
                row = replace(row, there=there, here=here)
                if row.verdict == "shrank":
                    again = self.record([test]).get(test)
                    if isinstance(again, Observation):
                        row = replace(row, there=there.or_other(again), here=here.or_other(_observed(reference)))
            except Exception as error:  # noqa: BLE001 - of the benchmark's work: the duel says more about it
                row = replace(
                    row, reason=f"with the package of {self.revision} it raises {type(error).__name__}: {error}"
                )
        self.rows[test] = row


def _observed(side: Side) -> Observation:
    """Observe a side's work, by the clock of its own process: sending the result does not count."""

    def call() -> tuple[object, float]:
        batch = side.batch(1)
        return batch.result, batch.wall

    with settled_memory():
        return observe(call)
