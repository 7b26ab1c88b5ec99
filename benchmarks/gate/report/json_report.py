"""`--gate-json FILE`: what a run found, for programs. `gate.schema.json`, beside this module, describes it."""

import json
import math
from typing import Any

from ..judge.rules import Compared, detectable
from ..plugin.session import Gate

VERSION = 1


def as_json(gate: Gate) -> str:
    """Return the whole report; what is not a finite number is null."""
    report = gate.report
    found = {
        "version": VERSION,
        "machine": gate.machine,
        "alpha": gate.alpha,
        "seed": gate.seed,
        "proven": report.proven,
        "notes": report.notes,
        "seconds": dict(report.took),
        "revision": gate.revision
        and {
            "name": gate.revision.name,
            "commit": gate.revision.commit,
            "benchmarks": [_compared(row) for row in report.compared],
        },
        "saved_runs": [run.name for run in gate.runs],
        "duels": [
            {
                **judged.duel.to_dict(),
                "floor": judged.floor,
                "floor_verdict": judged.floor_verdict,
                "saved_verdict": judged.saved_verdict,
            }
            for judged in report.duels
        ],
        "memory": [
            {
                "name": row.name,
                "test": row.test,
                "reference_bytes": row.reference,
                "candidate_bytes": row.candidate,
                "ratio": row.ratio,
                "ceiling": row.limit,
                "saved_verdict": row.saved_verdict,
            }
            for row in report.memory
        ],
    }
    return json.dumps(_finite(found), indent=2) + "\n"


def _compared(row: Compared) -> dict[str, Any]:
    return {
        "name": row.name,
        "test": row.test,
        "verdict": row.verdict,
        "tolerance": row.tolerance,
        "detectable_slowdown": row.duel and detectable(row.duel),
        "note": row.note,
        "duel": row.duel and row.duel.to_dict(),
    }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
