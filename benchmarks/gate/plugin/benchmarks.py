"""pytest-benchmark's fixture, fed from outside, and its rows, read. Its private API is used here and nowhere else.

tests/gate/test_plugin.py notices when that API changes.
"""

from typing import Any

import pytest

from ..measure.duel import Duel
from ..report.findings import BenchmarkRow


def claim(benchmark: Any) -> None:
    """Mark pytest-benchmark's fixture as used.

    Raises:
        RuntimeError: The test has measured before; alpha is not split for a second duel.
    """
    if benchmark._mode:  # noqa: SLF001 - see above
        raise RuntimeError(f"one measurement per test: this one has had its {benchmark._mode}")  # noqa: SLF001 - see above
    benchmark._mode = "duel(...)"  # noqa: SLF001 - or it warns that the fixture was not used


def record(benchmark: Any, duel: Duel, key: str = "duel") -> None:
    """Hand a duel's candidate to pytest-benchmark as this test's rounds, and its summary as extra_info[key]."""
    stats = benchmark._make_stats(duel.iterations)  # noqa: SLF001 - no public way to add times from elsewhere
    for seconds in duel.candidate_seconds:
        stats.update(seconds * duel.iterations)
    benchmark.extra_info[key] = duel.to_dict()


def rows(config: pytest.Config) -> list[BenchmarkRow]:
    """Return pytest-benchmark's rows, in the order of the tests; those that raised or were not timed are left out."""
    session = config._benchmarksession  # type: ignore[attr-defined] # noqa: SLF001 - no public way to read them all
    return [
        BenchmarkRow(
            test=row.fullname,
            group=row.group,
            name=row.name,
            params=plain(row.params or {}),
            median=row.stats.median,
            iqr=row.stats.iqr,
            min=row.stats.min,
            max=row.stats.max,
            rounds=row.stats.rounds,
            iterations=row.iterations,
        )
        for row in session.benchmarks
        if row and not row.has_error
    ]


def plain(params: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a test in JSON types: of what is no number and no text, its name or its type's."""
    return {
        name: value if value is None or isinstance(value, str | int | float) else _name(value)
        for name, value in params.items()
    }


def _name(value: Any) -> str:
    return str(getattr(value, "__name__", type(value).__name__))
