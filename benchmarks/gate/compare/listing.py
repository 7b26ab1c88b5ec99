"""A pytest plugin that lists the tests that measure, for the tree of another revision.

It is copied out and run there, so it uses nothing of this package, which that tree may have in another form.
"""

import os
from pathlib import Path

import pytest

MEASURING = {"benchmark", "ceiling"}
VARIABLE = "GATE_LISTING"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Write the tests' ids into the file that the variable names, before anything is deselected."""
    names = [item.nodeid for item in items if MEASURING & set(getattr(item, "fixturenames", ()))]
    Path(os.environ[VARIABLE]).write_text("\n".join(names), encoding="utf-8")
