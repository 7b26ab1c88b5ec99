"""`--gate-json FILE`: the findings for programs. `gate.schema.json`, beside this module, describes them."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..compare.environments import Environments
from ..compare.revision import Revision
from ..judge.acknowledged import Acknowledged
from ..judge.memory import MemoryRow
from ..judge.rules import JudgedDuel, RevisionRow, deciding_clock, detectable
from . import work
from .findings import Findings
from .words import remark

VERSION = 6


def as_json(
    findings: Findings,
    *,
    machine: dict[str, Any],
    alpha: float,
    seed: int,
    revision: Revision | None,
    saved_runs: Sequence[str],
    exit_status: int | None = None,
) -> str:
    """Return the findings with the settings they depend on; a number that is not finite is null."""
    document = {
        "version": VERSION,
        "machine": machine,
        "alpha": alpha,
        "seed": seed,
        "proven": findings.proven,
        "remarks": findings.remarks,
        "notes": [asdict(note) for note in findings.notes],
        "seconds": dict(findings.took),
        "revision": revision
        and {
            "name": revision.name,
            "commit": revision.commit,
            "environments": _environments(findings.environments),
            "benchmarks": [_revision_row(row) for row in findings.compared],
            "work": [work.as_dict(row) for row in findings.work],
            "acknowledged": [{"test": test, **_acknowledged(entry)} for test, entry in findings.acknowledged.items()],
        },
        "saved_runs": list(saved_runs),
        "exit_status": exit_status,
        "failures": [asdict(failure) for failure in findings.failures],
        "duels": [_duel_row(row) for row in findings.duels],
        "memory": [_memory_row(row) for row in findings.memory],
    }
    return json.dumps(_finite(document), indent=2) + "\n"


def _environments(known: Environments | None) -> dict[str, Any] | None:
    if known is None:
        return None
    return {
        "compared": known.compared,
        "differs": list(known.differs),
        "python": {
            "reference": known.reference and known.reference.python,
            "candidate": known.candidate and known.candidate.python,
        },
        "packages": [asdict(change) for change in known.changes],
    }


def _revision_row(row: RevisionRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "test": row.test,
        "verdict": row.verdict,
        "tolerance": row.tolerance,
        "blind": row.blind,
        "clock": row.duel and deciding_clock(row.duel),
        "detectable_slowdown": row.duel and detectable(row.duel, deciding_clock(row.duel)),
        "note": remark(row),
        "duel": row.duel and row.duel.to_dict(),
        "profile": [asdict(each) for each in row.growth],
        "unprofiled": row.unprofiled,
        "acknowledged": row.acknowledged and _acknowledged(row.acknowledged),
    }


def _acknowledged(found: Acknowledged) -> dict[str, Any]:
    return {
        "bound": found.entry.bound,
        "reason": found.entry.reason,
        "expires": found.entry.expires.isoformat(),
        "state": found.state,
        "change": found.change,
    }


def _duel_row(row: JudgedDuel) -> dict[str, Any]:
    return {
        "test": row.test,
        **row.duel.to_dict(),
        "floor": row.floor,
        "floor_verdict": row.floor_verdict,
        "saved_verdict": row.saved_verdict,
    }


def _memory_row(row: MemoryRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "test": row.test,
        "reference_bytes": row.reference,
        "candidate_bytes": row.candidate,
        "ratio": row.ratio,
        "ceiling": row.limit,
        "saved_verdict": row.saved_verdict,
        "revision_verdict": row.revision_verdict,
        "acknowledged": row.acknowledged and _acknowledged(row.acknowledged),
    }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
