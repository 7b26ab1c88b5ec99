"""The file of acknowledged slowdowns (ini option `gate_acknowledged`): read, checked, and compared with the revision's.

It is that of the working tree, because a pull request that makes something slower brings its own entry, to be reviewed.
"""

import datetime as dt
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ..compare.revision import Revision
from ..judge.acknowledged import Acknowledged, Change, Entry, State, change, of_duel, of_memory, read, void
from ..judge.memory import MEMORY_FACTOR, MemoryRow
from ..judge.rules import START_FACTOR, RevisionRow
from ..report.findings import Findings
from .requested import is_narrowed, is_requested
from .settings import Settings, settings_of

INI = "gate_acknowledged"

# The least bound of an entry, by the fixture of its test: what does not exceed it is no slowdown to acknowledge.
TOLERANCES: dict[str, Callable[[Settings, pytest.Item], float]] = {
    "against": lambda settings, item: settings_of(settings, item).tolerance,
    "against_start": lambda *_: START_FACTOR - 1,
    "against_memory": lambda *_: MEMORY_FACTOR - 1,
}
NOT_NEEDED = {"same", "faster"}  # verdicts


def add_ini(parser: pytest.Parser) -> None:
    """Add the ini option."""
    parser.addini(INI, "file of acknowledged slowdowns, in TOML, relative to the root (default: none)", default="")


def today() -> dt.date:
    """Return the day, in UTC: an entry expires everywhere at once."""
    return dt.datetime.now(tz=dt.UTC).date()


@dataclass
class Acknowledgements:
    """The entries of one session.

    Attributes:
        file: their file, relative to the root; empty without one.
        day: today.
        entries: of the working tree.
        there: those of the other revision.
        by_test: the entries by the ids of the tests that they name.
    """

    file: str = ""
    day: dt.date = field(default_factory=today)
    entries: tuple[Entry, ...] = ()
    there: tuple[Entry, ...] = ()
    by_test: dict[str, Entry] = field(default_factory=dict)

    @classmethod
    def open(cls, config: pytest.Config, revision: Revision) -> "Acknowledgements":
        """Read the file, and the revision's of that name.

        Raises:
            UsageError: The file is missing or malformed.
        """
        if not (file := str(config.getini(INI))):
            return cls()
        try:
            entries = _read((config.rootpath / file).read_bytes())
        except FileNotFoundError:
            raise pytest.UsageError(
                f"{INI} is {file}, and there is no such file in {config.rootpath}: add it (empty is enough), or remove "
                "the option"
            ) from None
        except (OSError, ValueError) as error:
            raise pytest.UsageError(f"{file}: {error}") from error
        file = Path(file).as_posix()
        return cls(file, entries=entries, there=_there(revision, file))

    def assign(self, config: pytest.Config, settings: Settings, items: Iterable[pytest.Item]) -> None:
        """Find the test of each entry among all that were collected, deselected ones included.

        An entry whose test the command line does not ask for is left out.

        Raises:
            UsageError: It names no test, or several; two name one test; or its bound admits nothing.
        """
        tests = [(item, kind) for item in items if (kind := _kind(item))]
        for number, entry in enumerate(self.entries, 1):
            name = f"{self.file}: entry {number} (test {entry.test!r})"
            named = [(item, kind) for item, kind in tests if entry.names(item.nodeid)]
            if not named:
                if is_requested(entry.test, config) if "::" in entry.test else not is_narrowed(config):
                    raise pytest.UsageError(
                        f"{name}: no benchmark that is compared with another revision has that id or name: removed, "
                        "renamed or misspelt? Correct `test`, or delete the entry"
                    )
                continue
            if len(named) > 1:
                ids = ", ".join(item.nodeid for item, _ in named)
                raise pytest.UsageError(f"{name}: {len(named)} benchmarks have that name; write the id of one of {ids}")
            ((item, kind),) = named
            if item.nodeid in self.by_test:
                raise pytest.UsageError(f"{name}: an earlier entry names that test as well: keep one of the two")
            tolerance = TOLERANCES[kind](settings, item)
            if not entry.bound > tolerance:
                raise pytest.UsageError(
                    f"{name}: the bound of {entry.bound:.3g} is not above {tolerance:.3g}, up to which nothing is red "
                    "(both as shares): raise the bound, or delete the entry"
                )
            self.by_test[item.nodeid] = entry

    def bound(self, test: str) -> float | None:
        """Return the bound of a test's entry, as a share; None if there is none, or it admits nothing."""
        entry = self.by_test.get(test)
        return None if entry is None or void(entry, self._change(entry), self.day) else entry.bound

    def judged(self, row: RevisionRow) -> RevisionRow:
        """Add to a row that is slower what its entry says of it."""
        entry = self.by_test.get(row.test)
        if entry is None or row.verdict != "slower" or row.duel is None:
            return row
        return replace(row, acknowledged=of_duel(entry, self._change(entry), row.duel.answers, self.day))

    def judged_memory(self, rows: Sequence[MemoryRow]) -> MemoryRow:
        """Return the last of the pairs of processes, with what the entry says of all of them if it is more."""
        last = rows[-1]
        entry = self.by_test.get(last.test)
        if entry is None or last.revision_verdict != "more":
            return last
        ratios = [row.ratio for row in rows]
        return replace(last, acknowledged=of_memory(entry, self._change(entry), ratios, self.day))

    def conclude(self, findings: Findings) -> None:
        """Add to the findings what became of each entry, and which can be deleted."""
        verdicts: dict[str, str | None] = {row.test: row.revision_verdict for row in findings.memory}
        verdicts |= {row.test: row.verdict for row in findings.compared}
        known = {row.test: row.acknowledged for row in findings.memory}
        known |= {row.test: row.acknowledged for row in findings.compared}
        for test, entry in self.by_test.items():
            if judged := known.get(test):
                findings.acknowledged[test] = judged
                continue
            state: State = "not needed" if verdicts.get(test) in NOT_NEEDED else "not judged"
            if entry.expired(self.day):
                if state == "not needed":
                    findings.remarks.append(
                        f"{self.file}: the entry for {test} expired on {entry.expires}, and the benchmark is not "
                        "slower: the entry can be deleted"
                    )
                state = "expired"
            findings.acknowledged[test] = Acknowledged(entry, state, self._change(entry))

    def _change(self, entry: Entry) -> Change:
        return change(entry, self.there)


def _kind(item: pytest.Item) -> str:
    names = getattr(item, "fixturenames", ())
    return next((kind for kind in TOLERANCES if kind in names), "")


def _read(content: bytes) -> tuple[Entry, ...]:
    return read(tomllib.loads(content.decode("utf-8")))


def _there(revision: Revision, file: str) -> tuple[Entry, ...]:
    """Return the revision's entries; none if it has no such file, or not one that this gate reads."""
    if file not in revision.files:
        return ()
    try:
        return _read(revision.read(file))
    except ValueError:
        return ()
