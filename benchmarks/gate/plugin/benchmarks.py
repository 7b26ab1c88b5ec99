"""pytest-benchmark's fixture, fed from outside. Its private API is used here and nowhere else.

tests/gate/test_plugin.py notices when that API changes.
"""

from typing import Any

from ..measure.duel import Duel


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
