"""The document of --gate-json, read as what anybody may have written."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from .sheet import code

Level: TypeAlias = Literal["red", "yellow", "plain"]
Values: TypeAlias = Mapping[str, Any]

VERSIONS = (6,)
MIB = 1024 * 1024
MOST_BYTES = 32 * MIB
MOST_ITEMS = 5_000  # of any list in it
LONGEST_NUMBER = 2**63

REVISION_VERDICTS = ("faster", "same", "slower", "inconclusive", "new", "unsupported")
SAVED_VERDICTS = ("faster", "same", "slower", "inconclusive", None)
FLOOR_VERDICTS = ("holds", "broken", "unproven", None)
WORK_VERDICTS = ("kept", "shrank", "not compared")
MEMORY_VERDICTS = ("same", "more", None)
CLOCKS = ("wall", "cpu", None)
STATES = {
    "admitted": "admitted",
    "exceeded": "exceeded",
    "unproven": "not proven to be within the bound",
    "expired": "expired",
    "spent": "spent",
    "not needed": "not slower",
    "not judged": "no verdict in this run",
}
CHANGES = {"added": "**added by this change**", "changed": "**changed by this change**", None: "as before"}


class DocumentError(ValueError):
    """The document is not what this gate writes. The message quotes nothing of it."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        level: how much it matters.
        name: of the benchmark; untrusted, as are `test` and `note`.
        test: its id.
        verdict: in our words, as are the next two.
        measured: the result.
        detectable: the smallest slowdown that was ruled out.
        note: a remark.
        profile: Markdown, row by row.
        acknowledged: whether an entry admits it.
    """

    level: Level
    name: str
    test: str
    verdict: str
    measured: str = "-"
    detectable: str = "-"
    note: str = ""
    profile: tuple[tuple[str, ...], ...] = ()
    acknowledged: bool = False


@dataclass
class Facts:
    """What a comment needs of a document; texts are untrusted unless said otherwise.

    Attributes:
        rows: in the order of the document.
        failures: the id and the message of each failed test.
        acknowledged: the entries, as Markdown, row by row.
        sentences: about the run.
        status: pytest's; None if it is unknown.
        revision: the other one's name; empty without one.
        commit: its hash, checked; empty without one.
        here: the commit that was measured, checked; empty if the document does not say.
        machine: in words.
    """

    rows: list[Row] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    acknowledged: list[tuple[str, ...]] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    status: int | None = None
    revision: str = ""
    commit: str = ""
    here: str = ""
    machine: str = ""


def load(path: Path) -> Any:
    """Return a document from a file.

    Raises:
        DocumentError: There is none, it is too large, or it is no JSON.
    """
    if path.is_symlink() or not path.is_file():
        raise DocumentError("there is no file of results")
    if path.stat().st_size > MOST_BYTES:
        raise DocumentError(f"the file of results is larger than {MOST_BYTES // MIB} MiB")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise DocumentError("the file of results is no JSON") from None


def facts(document: Any) -> Facts:
    """Return what a comment needs of a document.

    Raises:
        DocumentError: Something in it is not of the expected type, or not a known word.
    """
    if not isinstance(document, dict):
        raise DocumentError("the document is no object")
    if document.get("version") not in VERSIONS:
        raise DocumentError(f"the document is not of version {VERSIONS[-1]}, which is what this comment is made from")
    outcome = _object(document, "outcome")
    failed = _object(outcome, "failed")
    if len(failed) > MOST_ITEMS:
        raise DocumentError(f"more than {MOST_ITEMS:,} tests failed")
    commit = document.get("commit")
    found = Facts(
        status=None if outcome.get("status") is None else _whole(outcome, "status"),
        failures=[(test, _text(failed, test)) for test in failed],
        machine=_machine(_object(document, "machine")),
        here=_hash(commit.get("hash") if isinstance(commit, dict) else None),
    )
    if document.get("revision") is not None:
        revision = _object(document, "revision")
        found.revision, found.commit = _text(revision, "name"), _hash(revision.get("commit"))
        found.rows += [_revision_row(each) for each in _objects(revision, "benchmarks")]
        found.rows += [row for each in _objects(revision, "work") if (row := _work_row(each))]
        found.acknowledged += [_entry(each) for each in _objects(revision, "acknowledged")]
        found.sentences += _packages(revision)
    found.rows += [_memory_row(each) for each in _objects(document, "memory")]
    found.rows += [_duel_row(each) for each in _objects(document, "duels")]
    found.sentences += [*_texts(document, "remarks"), *_texts(document, "proven")]
    return found


def _revision_row(values: Values) -> Row:
    verdict = _word(values, "verdict", REVISION_VERDICTS)
    admitted = verdict == "slower" and _admitted(values)
    level: Level = "plain"
    if verdict == "slower":
        level = "yellow" if admitted else "red"
    elif verdict == "inconclusive":
        level = "yellow"
    measured = least = "-"
    if values.get("duel") is not None:
        duel, clock = _object(values, "duel"), _word(values, "clock", CLOCKS)
        numbers = _object(duel, "cpu") if clock == "cpu" else duel
        low, high = (_slowdown(ratio) for ratio in reversed(_pair(numbers, "interval")))
        ratio, pairs = _slowdown(_number(numbers, "ratio")), _whole(duel, "pairs")
        name = "CPU" if clock == "cpu" else "wall"
        measured = f"{name} time {ratio} ({low} to {high}), {pairs} pairs"
        least = _per_cent(_number(values, "detectable_slowdown"))
    return Row(
        level,
        _text(values, "name"),
        _text(values, "test"),
        f"{verdict}, acknowledged" if admitted else str(verdict),
        measured,
        least,
        note=_text(values, "note"),
        profile=tuple(_profile(values)),
        acknowledged=admitted,
    )


def _profile(values: Values) -> Iterator[tuple[str, ...]]:
    """Yield the functions, the one that grew most first."""
    for each in _objects(values, "profile"):
        there, here = (_number(each, f"{side}_seconds") for side in ("reference", "candidate"))
        calls = (_number(each, f"{side}_calls") for side in ("reference", "candidate"))
        yield (
            code(_text(each, "function")),
            *(_figure(seconds and seconds * 1e3) for seconds in (there, here)),
            *map(_figure, calls),
        )


def _work_row(values: Values) -> Row | None:
    verdict, admitted = _word(values, "verdict", WORK_VERDICTS), values.get("admitted")
    if not isinstance(admitted, bool):
        raise DocumentError("a value is not true or false")
    if verdict == "kept":
        return None
    level: Level = "red" if verdict == "shrank" and not admitted else "yellow"
    words = f"work {verdict}, removed" if admitted else f"work {verdict}"
    return Row(level, _text(values, "name"), _text(values, "test"), words, note=_text(values, "note"))


def _memory_row(values: Values) -> Row:
    there, here = (_whole(values, f"{side}_bytes") for side in ("reference", "candidate"))
    ratio, ceiling = _number(values, "ratio"), _number(values, "ceiling")
    saved, revision = (_word(values, f"{of}_verdict", MEMORY_VERDICTS) for of in ("saved", "revision"))
    admitted = revision == "more" and _admitted(values)
    broken = ceiling is not None and (ratio is None or ratio > ceiling)
    words = ["ceiling broken"] if broken else ["ceiling holds"] if ceiling is not None else []
    words += [f"{word} memory" for word in (saved, revision) if word]
    level: Level = "red" if broken or "more" in {saved, revision} else "plain"
    if level == "red" and admitted and not broken and saved != "more":
        level = "yellow"
    return Row(
        level,
        _text(values, "name"),
        _text(values, "test"),
        ", ".join([*words, *(["acknowledged"] if admitted else [])]) or "measured",
        f"{_figure(there / MIB)} there, {_figure(here / MIB)} MiB here ({_figure(ratio)} times)",
        acknowledged=level == "yellow",
    )


def _duel_row(values: Values) -> Row:
    floor, saved = _word(values, "floor_verdict", FLOOR_VERDICTS), _word(values, "saved_verdict", SAVED_VERDICTS)
    level: Level = "plain"
    if floor in ("broken", "unproven") or saved == "slower":
        level = "red"
    elif saved == "inconclusive":
        level = "yellow"
    low, high = map(_figure, _pair(values, "interval"))
    wanted = _number(values, "floor")
    measured = f"{_figure(_number(values, 'ratio'))} times faster ({low} to {high})"
    words = [f"floor {floor}" if floor else "", f"{saved} (saved run)" if saved else ""]
    return Row(
        level,
        _text(values, "name"),
        _text(values, "test"),
        ", ".join(filter(None, words)) or "measured",
        measured if wanted is None else f"{measured}, floor {_figure(wanted)}",
        note=_text(values, "note"),
    )


def _entry(values: Values) -> tuple[str, ...]:
    expires = _text(values, "expires")
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", expires, re.ASCII):
        raise DocumentError("a date is none")
    return (
        code(_text(values, "test")),
        _per_cent(_number(values, "bound")),
        expires,
        STATES[str(_word(values, "state", tuple(STATES)))],
        CHANGES[_word(values, "change", tuple(CHANGES))],
        code(_text(values, "reason")),
    )


def _admitted(values: Values) -> bool:
    if values.get("acknowledged") is None:
        return False
    return _word(_object(values, "acknowledged"), "state", tuple(STATES)) == "admitted"


def _packages(revision: Values) -> Iterator[str]:
    if revision.get("environments") is not None:
        for each in _objects(_object(revision, "environments"), "packages"):
            there, here = (
                _text(each, side) if each.get(side) else "not installed" for side in ("reference", "candidate")
            )
            yield f"{_text(each, 'name')} {there} -> {here}"


def _machine(values: Values) -> str:
    parts = [values.get(name) for name in ("processor", "cores", "system", "python_full")]
    processor, cores, *others = (str(part) if isinstance(part, str | int) else "" for part in parts)
    return ", ".join(filter(None, [processor, cores and f"{cores} cores", *others]))


def _hash(value: object) -> str:
    return value if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{40,64}", value) else ""


def _object(values: Values, key: str) -> Values:
    if not isinstance(value := values.get(key), dict):
        raise DocumentError("a part is missing, or no object")
    return value


def _list(values: Values, key: str) -> list[Any]:
    if not isinstance(value := values.get(key), list):
        raise DocumentError("a part is missing, or no list")
    if len(value) > MOST_ITEMS:
        raise DocumentError(f"a list is longer than {MOST_ITEMS:,}")
    return value


def _objects(values: Values, key: str) -> list[Values]:
    found = _list(values, key)
    if not all(isinstance(each, dict) for each in found):
        raise DocumentError("a part of a list is no object")
    return found


def _texts(values: Values, key: str) -> list[str]:
    found = _list(values, key)
    if not all(isinstance(each, str) for each in found):
        raise DocumentError("a part of a list is no text")
    return found


def _text(values: Values, key: str) -> str:
    if not isinstance(value := values.get(key), str):
        raise DocumentError("a text is missing, or none")
    return value


def _word(values: Values, key: str, known: tuple[str | None, ...]) -> str | None:
    value = values.get(key)
    if not (value is None or isinstance(value, str)) or value not in known:
        raise DocumentError("a word is not one that is known")
    return value


def _number(values: Values, key: str) -> float | None:
    """Return a number; None where the document has null, for one that is not finite."""
    value = values.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LONGEST_NUMBER:
        raise DocumentError("a number is none, or too large")
    return float(value)


def _whole(values: Values, key: str) -> int:
    number = _number(values, key)
    if number is None or number != int(number):
        raise DocumentError("a whole number is missing, or none")
    return int(number)


def _pair(values: Values, key: str) -> tuple[float | None, float | None]:
    found = _list(values, key)
    if len(found) != 2:
        raise DocumentError("an interval has not two limits")
    low, high = ({"limit": limit} for limit in found)
    return _number(low, "limit"), _number(high, "limit")


def _slowdown(ratio: float | None) -> str:
    return _per_cent(1 / ratio - 1 if ratio and ratio > 0 else None)


def _per_cent(share: float | None) -> str:
    if share is None or not math.isfinite(share):
        return "-"
    return f"{share * 100:+.1f} %" if abs(share) < 100 else f"{share * 100:+.2g} %"


def _figure(value: float | None) -> str:
    """Return a number with three digits, and without decimals from a hundred up."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if 100 <= abs(value) < 1e9 else f"{value:.3g}"
