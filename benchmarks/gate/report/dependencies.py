"""What differs between the environments of the two sides, in words."""

from collections.abc import Iterator

from ..compare.environments import Change, Environments


def environments(known: Environments | None) -> Iterator[str]:
    """Yield what differs between the environments of the two sides, or that this was not compared."""
    if known is None:
        return
    differs = ", ".join(known.differs)
    if known.reference is None or known.candidate is None:
        yield f"dependencies differ ({differs}) and were not compared: both sides ran in this environment"
        return
    pythons = known.reference.python, known.candidate.python
    changes = [] if pythons[0] == pythons[1] else [" -> ".join(pythons)]
    changes += map(_change, known.changes)
    what = ", ".join(changes) or "the same packages in the same versions"
    yield f"each side ran in an environment of its own{f' ({differs})' if differs else ''}: {what}"


def _change(change: Change) -> str:
    if change.reference is None:
        return f"{change.name} {change.candidate} (new)"
    if change.candidate is None:
        return f"{change.name} {change.reference} (removed)"
    return f"{change.name} {change.reference} -> {change.candidate}"
