"""The fixtures `duel`, `peak_memory` and `ceiling`."""

import pickle
import random
from collections.abc import Callable
from typing import Any

import pytest

from ..judge.rules import Judged, Memory, questions
from ..measure import memory
from ..measure.duel import Check, Duel
from ..measure.timing import Work
from .progress import shown
from .session import GATE


@pytest.fixture
def duel(request: pytest.FixtureRequest, benchmark: Any) -> Callable[..., Duel]:
    """Duel two callables, once per test: `duel(reference, candidate, *, floor=None, check=None, budget=None) -> Duel`.

    Both take no arguments. `floor` is the least ratio time(reference) / time(candidate); `check` is called with both
    results after every pair and raises AssertionError for a wrong one; `budget` is in seconds (default: --budget). The
    candidate's times become this test's rounds in pytest-benchmark. With --benchmark-disable each side runs once, the
    results are checked, and nothing is judged.

    Raises:
        AssertionError: where the floor is disproved, or not proven within the budget; where the candidate is slower
            than in the saved run of a like machine; and from `check`.
    """
    gate = request.config.stash[GATE]
    case, name = names(request)
    if benchmark.group is None:
        benchmark.group = f"{case} duels"

    def run(
        reference: Work,
        candidate: Work,
        *,
        floor: float | None = None,
        check: Check | None = None,
        budget: float | None = None,
    ) -> Duel:
        __tracebackhide__ = True
        claim(benchmark)
        if benchmark.disabled:
            results = reference(), candidate()
            if check:
                check(*results)
            gate.report.unmeasured.append(name)
            return Duel.unmeasured(name)
        before, origin = gate.saved_duel(request.node.nodeid)
        found = gate.fight(
            name,
            reference,
            candidate,
            questions(floor, before),
            alpha=gate.alpha / gate.duels,
            budget=gate.budget if budget is None else budget,
            seed=random.Random(f"{gate.seed} {request.node.nodeid}").getrandbits(32),
            check=check,
            progress=shown(request.config, name),
        )
        judged = Judged(found, floor, before, origin)
        gate.report.duels.append(judged)
        record(benchmark, found)
        failure = judged.failure()
        if failure:
            raise AssertionError(failure)
        return found

    return run


def claim(benchmark: Any) -> None:
    """Mark pytest-benchmark's fixture as used, and refuse a second use, which alpha is not split for.

    This and `record` are the one use of its private API; tests/gate/test_plugin.py notices when that changes.
    """
    if benchmark._mode:  # noqa: SLF001 - see above
        raise RuntimeError(f"one measurement per test: this one has had its {benchmark._mode}")  # noqa: SLF001 - see above
    benchmark._mode = "duel(...)"  # noqa: SLF001 - or it warns that the fixture was not used


def record(benchmark: Any, found: Duel, key: str = "duel") -> None:
    """Hand a duel's candidate to pytest-benchmark as this test's rounds, and its summary as extra_info[key]."""
    stats = benchmark._make_stats(found.iterations)  # noqa: SLF001 - there is no public way to take times from elsewhere
    for seconds in found.candidate_batches:
        stats.update(seconds)
    benchmark.extra_info[key] = found.to_dict()


@pytest.fixture(name="peak_memory")
def _peak_memory(request: pytest.FixtureRequest) -> Callable[..., int]:
    """Weigh a function in a fresh process: `peak_memory(function, *args, prepare=None) -> int`, in bytes; see `memory`.

    A result is kept for the session, so that a baseline runs once for all that are compared with it.
    """
    peaks = request.config.stash[GATE].peaks

    def measure(function: Callable[..., object], *args: object, prepare: Callable[[], object] | None = None) -> int:
        key = pickle.dumps((function, args))
        if key not in peaks:
            try:
                peaks[key] = memory.peak_memory(function, *args, prepare=prepare)
            except memory.UnmeasurableError as error:
                pytest.skip(str(error))
        return peaks[key]

    return measure


@pytest.fixture
def ceiling(request: pytest.FixtureRequest) -> Callable[[int, int, float], None]:
    """Assert candidate / reference <= limit: `ceiling(reference_bytes, candidate_bytes, limit)`.

    Raises:
        AssertionError: where it is more; where it is more than in the saved run of a like machine by what cannot be
            noise; or where the reference used no memory that could be measured.
    """
    gate = request.config.stash[GATE]
    _, name = names(request)

    def check(reference_bytes: int, candidate_bytes: int, limit: float) -> None:
        __tracebackhide__ = True
        if reference_bytes <= 0:
            raise AssertionError(f"{name}: the reference used no memory that can be measured; make its input larger")
        row = Memory(
            name, request.node.nodeid, reference_bytes, candidate_bytes, limit, *gate.saved_memory(request.node.nodeid)
        )
        gate.report.memory.append(row)
        if failure := row.failure():
            raise AssertionError(failure)

    return check


def names(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Return the case, and the test's name in the report."""
    case = request.node.path.stem.removeprefix("test_")
    return case, f"{case} {request.node.name}"
