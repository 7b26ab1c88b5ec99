"""A pytest plugin that lists the tests that measure, for the tree of another revision.

It is copied out and run there. It imports nothing from this package, which has another form in that tree.
"""

import os
from pathlib import Path

import pytest

MEASURING = {"benchmark", "ceiling", "against_memory"}
VARIABLE = "GATE_LISTING"


def measures(item: pytest.Item) -> bool:
    """Return whether a test measures: by pytest-benchmark's fixture, by one on top of it, or by the mark `measures`."""
    return bool(MEASURING & set(getattr(item, "fixturenames", ())) or item.get_closest_marker("measures"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Write the tests' ids into the file that the variable names, before any test is deselected."""
    Path(os.environ[VARIABLE]).write_text("\n".join(item.nodeid for item in items if measures(item)), encoding="utf-8")
