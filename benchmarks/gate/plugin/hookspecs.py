"""The gate's own hooks, for plugins such as the calibration."""

from collections.abc import Mapping, Sequence

import pytest

from ..report.findings import DescribedVariant
from .session import Runner


@pytest.hookspec(firstresult=True)
def pytest_gate_runner(config: pytest.Config) -> Runner | None:
    """Return what runs the session's duels instead of `measure.duel.run_duel`."""


@pytest.hookspec(firstresult=True)
def pytest_gate_compares_work(config: pytest.Config) -> bool | None:
    """Return False to leave the work of the other revision's own benchmarks, and acknowledgements, to other runs.

    A bisection does: it runs the benchmarks of one commit with the packages of others, and goes by the verdicts.
    """


@pytest.hookspec
def pytest_gate_variants(
    config: pytest.Config, cases: frozenset[str]
) -> Mapping[str, Sequence[DescribedVariant] | str] | None:
    """Return the variants of those of `cases` that are known, the baseline first, or why they cannot be described.

    The reports of a run ask for the cases that it measured. What several plugins return is put together.
    """
