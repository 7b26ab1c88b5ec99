"""The state of a loader: the number of the next batch, and which rows it counts.

Row i is a pure function of (seed, i), so a position is all that an interrupted run needs. The other entries say what
the position belongs to, so that a state of other rows is refused. All are ints and strs, which `json`, `pickle` and
`torch.save` keep as they are.
"""

import hashlib
import operator
from collections.abc import Mapping
from typing import Any, SupportsIndex, TypeAlias

from .streamed import StreamedDataset

__all__ = ["State", "batch_of", "origin_of", "whole"]

State: TypeAlias = dict[str, int | str]


def origin_of(dataset: StreamedDataset, batch_size: int) -> State:
    """Return what a position in these batches belongs to: everything that the rows of batch n depend on.

    The text is replaced by a digest of what is left of it after cleaning.
    """
    rows = dataset.rows
    low, high = map(int, rows.key)
    return {
        "text": hashlib.sha256(rows.plan.text.tobytes()).hexdigest()[:16],
        "seed": high << 32 | low,
        "dataset_size": len(dataset),
        "max_modifications": rows.plan.budget - 1,
        "max_letter_count": rows.width,
        "batch_size": batch_size,
    }


def batch_of(state: Mapping[str, Any], origin: State) -> int:
    """Return the position in a state, if the state belongs to `origin`.

    Raises:
        TypeError: `state` is not a mapping, or its position not an int.
        ValueError: An entry is missing or unknown, the position is negative, or the state is of other rows; the message
            names every entry that differs.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"a state must be a mapping, as state_dict() returns it, not {type(state).__name__}")
    known = [*origin, "batch"]
    missing = [key for key in known if key not in state]
    unknown = [str(key) for key in state if key not in known]
    if missing or unknown:
        wrong = [f"{', '.join(missing)} missing"] if missing else []
        wrong += [f"{', '.join(unknown)} unknown"] if unknown else []
        raise ValueError(f"not a state of this loader: {'; '.join(wrong)}. Entries: {', '.join(known)}")
    different = [f"{key} {state[key]!r} there and {own!r} here" for key, own in origin.items() if state[key] != own]
    if different:
        raise ValueError(f"the state belongs to another loader: {'; '.join(different)}")
    return whole("batch", state["batch"], 0)


def whole(name: str, value: object, least: int) -> int:
    """Return `value` as an int; NumPy's integers are accepted, and bools are not.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise TypeError(f"{name} must be an int of at least {least}, not {value!r} ({type(value).__name__})")
    number = operator.index(value)
    if number < least:
        raise ValueError(f"{name} must be at least {least}, not {number}")
    return number
