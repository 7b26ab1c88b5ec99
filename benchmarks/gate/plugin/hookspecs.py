"""The gate's own hook, for plugins such as the calibration."""

import pytest

from .session import Runner


@pytest.hookspec(firstresult=True)
def pytest_gate_runner(config: pytest.Config) -> Runner | None:
    """Return what runs the session's duels instead of `measure.duel.run_duel`."""
