"""Benchmarks that exist elsewhere and not here: a comparison of what is left would pass what was removed."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass


@dataclass(frozen=True)
class Absence:
    """A benchmark that exists elsewhere and did not run here.

    Attributes:
        test: its id.
        where: where it exists, such as "at HEAD (0123abc)".
        reason: why it was skipped here; None if it was not collected.
    """

    test: str
    where: str
    reason: str | None = None


@dataclass(frozen=True)
class Completeness:
    """What is missing in a run.

    Attributes:
        missing: benchmarks that were not collected here.
        skipped: benchmarks that were skipped here.
        moved: benchmarks of the quick run elsewhere that belong to the full run here, and were left out.
        admitted: ids of missing benchmarks whose removal was admitted.
        unused: admissions that fit no missing benchmark, and none whose work shrank.
        nothing_ran: whether the run measured nothing at all.
    """

    missing: tuple[Absence, ...]
    skipped: tuple[Absence, ...]
    moved: tuple[Absence, ...]
    admitted: tuple[str, ...]
    unused: tuple[str, ...]
    nothing_ran: bool

    @property
    def complete(self) -> bool:
        """Return whether nothing is wrong."""
        return not (self.missing or self.skipped or self.moved or self.unused or self.nothing_ran)


def completeness(
    known: Mapping[str, str],
    collected: AbstractSet[str],
    *,
    skipped: Mapping[str, str],
    unsupported: AbstractSet[str],
    removed: Sequence[str],
    measured: bool,
    smaller: AbstractSet[str] = frozenset(),
    moved: AbstractSet[str] = frozenset(),
) -> Completeness:
    """Compare the benchmarks that exist elsewhere with those that ran here.

    Args:
        known: where each benchmark exists, by its id.
        collected: ids of the benchmarks that exist here, deselected ones included.
        skipped: the reasons of the tests that were skipped here, by id.
        unsupported: ids of tests that neither revision can run on this machine.
        removed: admissions: an id, a test's name, or the name of its function.
        measured: whether any benchmark ran here.
        smaller: ids of benchmarks here whose work was admitted to be smaller, or may be, and is not of this run.
        moved: ids of benchmarks that a quick run has elsewhere, and that this quick run left out.
    """
    absent = [test for test in sorted(known) if test not in collected]
    left_out = [test for test in sorted(moved) if test in known]
    admitted = [test for test in (*absent, *left_out) if _admitted(test, removed)]
    return Completeness(
        missing=tuple(Absence(test, known[test]) for test in absent if test not in admitted),
        skipped=tuple(
            Absence(test, known[test], reason)
            for test, reason in skipped.items()
            if test in known and test not in unsupported and not _admitted(test, removed)
        ),
        moved=tuple(Absence(test, known[test]) for test in left_out if test not in admitted),
        admitted=tuple(admitted),
        unused=tuple(name for name in removed if not any(admits(name, test) for test in (*admitted, *smaller))),
        nothing_ran=not measured,
    )


def _admitted(test: str, removed: Sequence[str]) -> bool:
    return any(admits(name, test) for name in removed)


def admits(name: str, test: str) -> bool:
    """Return whether an admission means a test: its id, its name, or its function's name."""
    function = test.partition("::")[2]
    return name in {test, function, function.partition("[")[0]}
