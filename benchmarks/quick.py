"""Which parameters of a benchmark belong to the quick run, and which to the full one only (`--full`)."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def quick_or_full(values: Iterable[Any], quick: Collection[Any]) -> list[Any]:
    """Return the values as parameters: those that are not in `quick` are marked `full`."""
    return [value if value in quick else pytest.param(value, marks=pytest.mark.full) for value in values]
