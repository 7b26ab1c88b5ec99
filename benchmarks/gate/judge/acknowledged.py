"""Acknowledged slowdowns: what a reviewed file admits, up to which bound, why, and until when.

An entry is a floor for the ratio to the other revision, and is judged as floors are: that the slowdown is within the
bound must be proven. The bets for that are nested with those about the tolerance, so they cost no error rate.
"""

import datetime as dt
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ..measure.bets import Answer, Question
from ..measure.tail import TailQuestion

Admission: TypeAlias = Literal["admitted", "exceeded", "unproven"]
State: TypeAlias = Literal["admitted", "exceeded", "unproven", "expired", "spent", "not needed", "not judged"]
Change: TypeAlias = Literal["added", "changed"] | None

FORM = '[[slowdown]] test = "test_revision[...]", bound = "8 %", reason = "...", expires = 2027-01-31'
KEYS = {"test", "bound", "reason", "expires"}
PER_CENT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")

# The questions about the bound, by the question whose slowdown they limit.
BOUNDS = {"revision": "bound", "cpu": "bound of cpu", "tail": "bound of tail"}


@dataclass(frozen=True)
class Entry:
    """One entry of the file.

    Attributes:
        test: the id of a test, or its name within the file.
        bound: the greatest slowdown that is admitted, as a share; of peak memory the greatest growth.
        reason: why it is admitted.
        expires: the last day, in UTC, on which it admits anything.
    """

    test: str
    bound: float
    reason: str
    expires: dt.date

    def expired(self, today: dt.date) -> bool:
        """Return whether it admits nothing any more."""
        return today > self.expires

    def names(self, test: str) -> bool:
        """Return whether this is a test's id, or its name with its parameters: one entry admits one test."""
        return self.test in {test, test.partition("::")[2]}


@dataclass(frozen=True)
class Acknowledged:
    """What an entry says of one slowdown.

    Attributes:
        entry: the entry.
        state: "admitted" if the slowdown is proven to be within the bound; "exceeded" if it is proven not to be;
            "unproven" if the time ended first; "expired" if the entry no longer counts; "spent" if the other revision
            has it, and so perhaps what it admitted, which would be admitted once more; "not needed" if the benchmark is
            not slower; "not judged" if it has no verdict in this run.
        change: "added" or "changed" if the other revision's file does not have the entry as it is; else None.
    """

    entry: Entry
    state: State
    change: Change = None

    @property
    def admitted(self) -> bool:
        """Return whether the slowdown does not fail its test."""
        return self.state == "admitted"


def read(document: Mapping[str, Any]) -> tuple[Entry, ...]:
    """Return the entries of a file, given as the output of `tomllib`.

    Raises:
        ValueError: The file has something else; the message says which entry, and what to do.
    """
    if unknown := sorted(set(document) - {"slowdown"}):
        raise ValueError(f"{unknown[0]!r} is unknown: each entry is {FORM}")
    tables = document.get("slowdown", [])
    if not (isinstance(tables, list) and all(isinstance(table, dict) for table in tables)):
        raise ValueError(f"`slowdown` is a list of tables, each under a line [[slowdown]]: {FORM}")
    return tuple(_entry(number, table) for number, table in enumerate(tables, 1))


def _entry(number: int, table: Mapping[str, Any]) -> Entry:
    test = table.get("test")
    name = f"entry {number} (test {test!r})" if test else f"entry {number}"
    if unknown := sorted(set(table) - KEYS):
        raise ValueError(f"{name}: the key {unknown[0]!r} is unknown: remove it, or correct it to one of {FORM}")
    if missing := sorted(KEYS - set(table)):
        raise ValueError(f"{name}: {missing[0]!r} is missing: write {FORM}")
    if not (isinstance(test, str) and test.strip()):
        raise ValueError(f"{name}: `test` is the id or the name of a benchmark, as the report has it")
    reason, expires = table["reason"], table["expires"]
    if not (isinstance(reason, str) and reason.strip()):
        raise ValueError(f"{name}: the reason is empty: say for the reviewer what the slowdown buys")
    # Not a subclass: that is a date with a time.
    if type(expires) is not dt.date:
        raise ValueError(f"{name}: `expires` is a date without quotes, such as 2027-01-31, not {expires!r}")
    return Entry(test.strip(), _bound(name, table["bound"]), " ".join(reason.split()), expires)


def _bound(name: str, value: object) -> float:
    written = PER_CENT.fullmatch(value) if isinstance(value, str) else None
    number = float(written[1]) if written else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not (0 < number < math.inf):
        raise ValueError(f'{name}: the bound is per cent, such as "8 %" or 8, not {value!r}')
    return number / 100


def change(entry: Entry, there: Sequence[Entry]) -> Change:
    """Return how an entry differs from those of the other revision."""
    if entry in there:
        return None
    return "changed" if any(each.test == entry.test for each in there) else "added"


def bound_questions(bound: float, *, cpu: bool, scores: bool, slow_calls: float | None) -> list[Question]:
    """Return the questions about a bound: is the candidate slower by less, or by more?

    Slow calls are those that remain when the candidate's times are divided by 1 + bound.

    Args:
        bound: the slowdown, as a share.
        cpu: whether CPU time counts.
        scores: as in the question about the revision: bets are nested with others of their kind only.
        slow_calls: the share of additional slow calls that must be ruled out where there are more; None: not asked.
    """
    limit = 1 / (1 + bound)
    asked = [Question(BOUNDS["revision"], above=limit, below=limit, scores=scores)]
    if cpu:
        asked.append(Question(BOUNDS["cpu"], above=limit, below=limit, clock="cpu", scores=scores))
    if slow_calls is not None:
        asked.append(TailQuestion(BOUNDS["tail"], above=limit, below=limit, needed=False, share=slow_calls))
    return asked


def admission(answers: Mapping[str, Answer]) -> Admission | None:
    """Return whether a slowdown is within the bound that was asked about; None if none was.

    Wall time must be proven to be within it, and so must CPU time and slow calls if they are proven to be more than at
    the other revision. If one of the three is proven to exceed it, the slowdown does.
    """
    asked = {name: answers[of_bound] for name, of_bound in BOUNDS.items() if of_bound in answers}
    if not asked:
        return None
    if any(answer.verdict == "below" for answer in asked.values()):
        return "exceeded"
    needed = [answer for name, answer in asked.items() if name == "revision" or answers[name].verdict == "below"]
    return "admitted" if all(answer.verdict == "above" for answer in needed) else "unproven"


def void(entry: Entry, change: Change, today: dt.date) -> Literal["expired", "spent"] | None:
    """Return why an entry admits nothing; None if it may."""
    return "expired" if entry.expired(today) else "spent" if change is None else None


def of_duel(entry: Entry, change: Change, answers: Mapping[str, Answer], today: dt.date) -> Acknowledged:
    """Return what an entry says of a slowdown in time."""
    return Acknowledged(entry, void(entry, change, today) or admission(answers) or "unproven", change)


def of_memory(entry: Entry, change: Change, ratios: Sequence[float], today: dt.date) -> Acknowledged:
    """Return what an entry says of more memory; each pair of processes must be within the bound."""
    if reason := void(entry, change, today):
        return Acknowledged(entry, reason, change)
    return Acknowledged(entry, "admitted" if max(ratios) <= 1 + entry.bound else "exceeded", change)
