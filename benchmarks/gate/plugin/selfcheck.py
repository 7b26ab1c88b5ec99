"""What every run that compares has to prove about itself. The plugin adds these tests; nobody has to ask for them."""

from typing import Any

import pytest

from ..judge.completeness import complaints
from ..judge.rules import Compared, revision_questions, revision_verdict
from ..measure.timing import Work
from ..measure.workloads import slowed, sorting
from .fixtures import claim
from .progress import shown
from .session import GATE, Gate

LISTS = 100  # some 2 ms
SLOWDOWN = 0.05


@pytest.fixture
def gate(request: pytest.FixtureRequest, benchmark: Any) -> Gate:
    """Return the session's gate. As users of `benchmark` these tests run under --benchmark-only as well."""
    claim(benchmark)
    found: Gate = request.config.stash[GATE]
    return found


def test_control(gate: Gate, request: pytest.FixtureRequest) -> None:
    """Work duelled with itself is not slower than itself."""
    work = sorting(LISTS)
    row = _duelled(gate, request, "control", work, work)
    gate.report.proven.append(f"control: {row.verdict} after {_pairs(row)}, where nothing differs")
    assert row.verdict in {"same", "inconclusive"}, (
        f"work is {row.verdict} than itself after {_pairs(row)}: no verdict of this run can be trusted. On a quieter "
        "machine, or with another --duel-seed, see whether this was chance (--alpha says how rare that is)"
    )


def test_canary(gate: Gate, request: pytest.FixtureRequest) -> None:
    """Work that is slowed by 5 % is found to be slower."""
    work = sorting(LISTS)
    row = _duelled(gate, request, "canary", work, slowed(work, SLOWDOWN))
    assert row.verdict == "slower", (
        f"work that was made {SLOWDOWN:.0%} slower is found {row.verdict} after {_pairs(row)}: what this run calls "
        "`same` proves nothing. Give it a quieter machine, or longer (--budget SECONDS)"
    )
    gate.report.proven.append(f"today, on this machine, this gate sees {SLOWDOWN:+.0%} in {_pairs(row)}")


def test_nothing_is_missing(gate: Gate, request: pytest.FixtureRequest) -> None:
    """Whatever the saved run or the other revision measures was measured here, and something was."""
    found = complaints(gate, request.config)
    assert not found, "; ".join(found)


def _duelled(gate: Gate, request: pytest.FixtureRequest, name: str, reference: Work, candidate: Work) -> Compared:
    found = gate.fight(
        name,
        reference,
        candidate,
        revision_questions(gate.tolerance),
        alpha=gate.alpha / gate.duels,
        budget=gate.budget,
        seed=gate.seed,
        progress=shown(request.config, name),
    )
    return Compared(name, request.node.nodeid, name, revision_verdict(found) or "inconclusive", found, gate.tolerance)


def _pairs(row: Compared) -> str:
    assert row.duel is not None
    return f"{row.duel.pairs} pairs ({row.duel.seconds:.1f} s)"
