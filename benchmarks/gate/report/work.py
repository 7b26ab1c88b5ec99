"""The work of the benchmarks, at another revision and here: the words, a row of the table, and JSON."""

from typing import Any

from ..compare.work.observe import Observation
from ..compare.work.shape import CUT, Part
from ..judge.reasons import Reason
from ..judge.work import LEAST_TIME, Fall, WorkRow
from .words import duration

COLUMNS = ("work of the benchmark", "verdict", "time there", "time here", "result there", "result here")
PLACES = 2  # of a result, in a cell or a sentence


def failure(row: WorkRow, *, strict: bool) -> str | None:
    """Return why the test fails and what to do about it, or None if it passes."""
    reasons = row.reasons(strict=strict)
    admit = f"--removed '{row.test.partition('::')[2]}'"
    if Reason.WORK_SHRANK in reasons:
        return (
            f"{row.name}: its work shrank: {_less(row)}. Both sides of the duel run the smaller work, so it cannot see "
            f"what is slower at the old size. Restore the size, or admit the change with {admit}"
        )
    if Reason.WORK_UNKNOWN in reasons:
        return (
            f"{remark(row)}, and --strict demands that. Compare with a revision whose benchmark runs, or pass {admit}"
        )
    return None


def remark(row: WorkRow) -> str:
    """Return what is wrong with a row, in one sentence; empty if nothing is."""
    if row.verdict == "kept":
        return ""
    text = f"its work shrank: {_less(row)}" if row.verdict == "shrank" else f"work not compared: {_unknown(row)}"
    return f"{row.name}: {text}" + (", as --removed admits" if row.removed else "")


def _less(row: WorkRow) -> str:
    """Return what the benchmark does less than that revision's own."""
    parts = [_fall(fall) for fall in row.falls[:PLACES]]
    if len(row.falls) > PLACES:
        parts.append(f"so on for {len(row.falls) - PLACES} more of its parts")
    if row.quicker and row.there and row.here:
        parts.append(
            f"a call takes at least {duration(row.here.seconds)}, less than {LEAST_TIME:.0%} of the "
            f"{duration(row.there.seconds)} there"
        )
    return f"compared with the benchmark of {row.revision}, and with the same package, " + ", and ".join(parts)


def _fall(fall: Fall) -> str:
    name = f"{fall.place} of its result" if fall.place else "its result"
    return f"{name} has size {_sizes(fall.here)} and not {_sizes(fall.there)}"


def _unknown(row: WorkRow) -> str:
    if row.reason:
        return row.reason
    place, there, here = row.others[0]
    return f"{f'{place} of its result' if place else 'its result'} is {there} at {row.revision} and {here} here"


def _sizes(sizes: tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes)) or "1"


def cells(row: WorkRow) -> tuple[str, ...]:
    """Return a row of the table."""
    seconds = [duration(side.seconds) if side else "-" for side in (row.there, row.here)]
    verdict = f"{row.verdict}, admitted" if row.admitted else row.verdict
    return (row.name, verdict, *seconds, *(_result(side) for side in (row.there, row.here)))


def _result(side: Observation | None) -> str:
    """Return the first sizes of a result."""
    if side is None:
        return "-"
    sized = [(place, part) for place, part in side.shape.items() if part.greatest and place != CUT]
    shown = [f"{place} {_sizes(part.greatest)}".strip() for place, part in sized[:PLACES]]
    return ", ".join([*shown, "..."] if len(sized) > PLACES else shown) or "no size"


def as_dict(row: WorkRow) -> dict[str, Any]:
    """Return a row in JSON types."""
    return {
        "name": row.name,
        "test": row.test,
        "verdict": row.verdict,
        "admitted": row.admitted,
        "note": remark(row),
        "there": _observation(row.there),
        "here": _observation(row.here),
    }


def _observation(side: Observation | None) -> dict[str, Any] | None:
    if side is None:
        return None
    parts = {place: _part(part) for place, part in side.shape.items()}
    return {"seconds": side.seconds, "calls": side.calls, "shape": parts}


def _part(part: Part) -> dict[str, Any]:
    return {"kind": part.kind, "least": list(part.least), "greatest": list(part.greatest)}
