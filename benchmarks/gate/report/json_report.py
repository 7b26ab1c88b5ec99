"""`--gate-json FILE`: the findings for programs. `gate.schema.json`, beside this module, describes them.

Whatever else people see of a run, its page say, is made of this document alone, so it can be made again from the file.
"""

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
from ..measure.duel import Duel
from ..measure.trace import trace
from . import work
from .findings import Findings, Run
from .words import remark

VERSION = 6


def as_document(
    findings: Findings,
    *,
    run: Run,
    machine: dict[str, Any],
    alpha: float,
    seed: int,
    revision: Revision | None,
    saved_runs: Sequence[str],
    history: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the findings with the settings they depend on, in JSON types; a number that is not finite is None."""
    document = {
        "version": VERSION,
        "date": run.date,
        "commit": run.commit and asdict(run.commit),
        "machine": machine,
        "versions": dict(run.versions),
        "alpha": alpha,
        "seed": seed,
        "outcome": {"status": run.status, "failed": dict(run.failed), "skipped": dict(run.skipped)},
        "proven": findings.proven,
        "remarks": findings.remarks,
        "notes": [asdict(note) for note in findings.notes],
        "series": [asdict(series) for series in findings.series],
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
        "history": history,
        "duels": [_duel_row(row) for row in findings.duels],
        "memory": [_memory_row(row) for row in findings.memory],
        "benchmarks": [asdict(row) for row in findings.benchmarks],
        "variants": {case: [asdict(each) for each in variants] for case, variants in findings.variants.items()},
    }
    return {key: _finite(part) for key, part in document.items()}


def as_json(document: dict[str, Any]) -> str:
    """Return a document as the text of its file."""
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


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
        "duel": row.duel and _duel(row.duel),
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


def _duel(duel: Duel) -> dict[str, Any]:
    return {**duel.to_dict(), "trace": trace(duel)}


def _duel_row(row: JudgedDuel) -> dict[str, Any]:
    return {
        "test": row.test,
        **_duel(row.duel),
        "floor": row.floor,
        "floor_verdict": row.floor_verdict,
        "saved_verdict": row.saved_verdict,
        "saved_ratio": row.saved and row.saved.ratio,
    }


def _memory_row(row: MemoryRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "test": row.test,
        "params": dict(row.params),
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
