"""What is compared: a variant here, and the one of that name at the other revision."""

import importlib
from dataclasses import replace
from typing import Any

import pytest

from ..compare.work.entries import entry, unsupported
from ..judge.rules import RevisionRow
from .session import Session


def entries(session: Session, row: RevisionRow, package: str, name: str) -> tuple[Any, Any]:
    """Return a variant or an attribute of a package, here and at the revision; None for what the revision has not.

    Skips the test if this machine can run the variant at neither.

    Args:
        session: with the revision.
        row: of the test.
        package: with a dict VARIANTS.
        name: of the variant, or of the attribute.

    Raises:
        AssertionError: The working tree has no such thing, or this machine can run it at the revision only.
        UsageError: There is no revision.
    """
    __tracebackhide__ = True
    if session.revision is None:
        raise pytest.UsageError(f"{row.name} needs --against REV")
    here = entry(importlib.import_module(package), name)
    there = entry(session.revision.load(package), name)
    if here is None:
        raise AssertionError(f"{package} has neither a variant nor an attribute {name!r}: removed or renamed?")
    if reason := unsupported(here):
        if there is not None and hasattr(there, "unsupported") and not unsupported(there):
            raise AssertionError(f"{row.name} runs at {row.revision} and is unsupported here: {reason}")
        session.findings.compared.append(replace(row, verdict="unsupported", reason=reason))
        pytest.skip(reason)
    return here, there
