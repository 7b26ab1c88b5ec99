"""The files that a run writes: its report as Markdown, its document as JSON, and the page made of that."""

import importlib.util
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ..compare.history import find_runs, group_runs
from ..compare.revision import RevisionError, working_tree
from ..measure import machine
from ..report.findings import Commit, Findings, Run
from ..report.history import document as history_document
from ..report.json_report import as_document, as_json
from ..report.page.view import case_of
from ..report.tables import markdown
from .benchmarks import rows
from .session import Session

PAGE_NEEDS = ("jinja2", "matplotlib")  # the extra `report`


def write_files(config: pytest.Config, gate: Session, status: int) -> None:
    """Write what was asked for; what a page needs and is not installed is a remark and no error."""
    files: dict[str, Path | None] = {name: config.getoption(f"gate_{name}") for name in ("report", "json", "html")}
    if files["html"] and (missing := [name for name in PAGE_NEEDS if importlib.util.find_spec(name) is None]):
        gate.findings.remarks.append(
            f"{files['html']} is not written, because {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} "
            "missing: pip install 'ml-performance-suite[report]'"
        )
        files["html"] = None
    written = [config.getoption("benchmark_json"), *files.values()]
    gate.findings.results += [str(file) if isinstance(file, Path) else file.name for file in written if file]
    if files["report"]:
        _write(files["report"], markdown(gate.findings))
    document: dict[str, Any] = {}
    if files["json"] or files["html"]:
        gate.findings.benchmarks = rows(config)
        _describe_variants(config, gate.findings)
        document = as_document(
            gate.findings,
            run=_run(config, gate, status),
            machine=gate.machine,
            alpha=gate.settings.alpha,
            seed=gate.settings.seed,
            revision=gate.revision,
            saved_runs=[run.name for run in gate.runs],
            history=_history(config, gate),
        )
    if files["json"]:
        _write(files["json"], as_json(document))
    if files["html"]:
        _write_page(files["html"], document, gate.findings)


def _history(config: pytest.Config, gate: Session) -> dict[str, Any] | None:
    """Return each ratio over the saved runs of machines like this one; None if there is no such run."""
    folder = Path(config.option.benchmark_storage.removeprefix("file://"))
    if not folder.is_dir():
        return None
    try:
        runs, left_out = find_runs([folder])
        alike = [run for run in runs if not machine.differences(gate.machine, run.machine)]
        return history_document.as_document(group_runs(alike), left_out) if alike else None
    except Exception as error:  # noqa: BLE001 - a fault of the history hides no verdict
        gate.findings.remarks.append(f"there is no history, by a fault of it: {type(error).__name__}: {error}")
        return None


def _write_page(path: Path, document: dict[str, Any], findings: Findings) -> None:
    """Write the page. A fault in it is reported, and hides neither the verdicts nor the exit status."""
    from ..report.page.page import render  # noqa: PLC0415 - imports jinja2 and matplotlib, which are an extra

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other people's plots: pytest may make errors of them
            text = render(document)
    except Exception as error:  # noqa: BLE001 - see above
        findings.results.remove(str(path))
        findings.remarks.append(f"{path} is not written, by a fault of the page: {type(error).__name__}: {error}")
    else:
        _write(path, text)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _run(config: pytest.Config, gate: Session, status: int) -> Run:
    try:
        found = working_tree(config.rootpath)
    except RevisionError:  # git is not installed
        found = None
    return Run(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=found and Commit(*found),
        versions=machine.versions(config.rootpath),
        status=int(status) or int(bool(config._benchmarksession.performance_regressions)),  # type: ignore[attr-defined] # noqa: SLF001 - of --benchmark-compare-fail, which fails a run below all tables
        failed=gate.findings.first_messages(),
        skipped={test: reason for test, reason in sorted(gate.skipped.items()) if test in gate.collected},
    )


def _describe_variants(config: pytest.Config, findings: Findings) -> None:
    """Ask the plugins about the variants of the cases that the run measured, and of no others: to ask imports them."""
    tests = [row.test for row in findings.benchmarks]
    tests += [row.test for row in findings.duels]
    tests += [row.test for row in findings.memory]
    tests += [row.test for row in findings.compared]
    tests += [row.test for row in findings.notes]
    tests += [row.test for row in findings.series]
    cases = frozenset(case_of(test) for test in tests)
    for answer in config.hook.pytest_gate_variants(config=config, cases=cases):
        for case, variants in answer.items():
            if isinstance(variants, str):
                findings.remarks.append(f"the report does not describe the variants of {case}: {variants}")
            else:
                findings.variants[case] = list(variants)
