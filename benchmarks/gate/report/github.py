"""GitHub Actions: the report as the job's summary, and each failure as an annotation of its file.

The job writes both as text and needs no permission.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from . import work
from .findings import Findings
from .tables import markdown
from .words import acknowledged, evidence


def write_summary(findings: Findings, environment: Mapping[str, str] = os.environ) -> None:
    """Add the report to the job's summary, if there is a job."""
    if path := environment.get("GITHUB_STEP_SUMMARY"):
        with Path(path).open("a", encoding="utf-8") as summary:
            summary.write(markdown(findings) + "\n")


def annotations(
    reporter: pytest.TerminalReporter, findings: Findings, environment: Mapping[str, str] = os.environ
) -> Iterator[str]:
    """Yield one line per failed test and one per test that is open in some way, in GitHub's form of annotations."""
    if environment.get("GITHUB_ACTIONS") != "true":
        return
    for failed in [*reporter.getreports("failed"), *reporter.getreports("error")]:
        file, line, _ = failed.location
        title = _escaped(failed.head_line or file)
        yield f"::error file={file},line={(line or 0) + 1},title={title}::{_escaped(message_of(failed))}"
    for row in findings.compared:
        file = row.test.partition("::")[0]
        if row.verdict == "inconclusive":
            yield f"::warning file={file},title={_escaped(row.name)}::{_escaped('inconclusive: ' + evidence(row))}"
        elif row.acknowledged and row.acknowledged.admitted:
            yield f"::warning file={file},title={_escaped(row.name)}::{_escaped(acknowledged(row.acknowledged))}"
    for unknown in findings.work:
        if unknown.verdict == "not compared" and not unknown.removed:
            file = unknown.test.partition("::")[0]
            yield f"::warning file={file},title={_escaped(unknown.name)}::{_escaped(work.remark(unknown))}"


def message_of(failed: pytest.TestReport | pytest.CollectReport) -> str:
    """Return why a test failed, without its stack."""
    crash = getattr(failed.longrepr, "reprcrash", None)
    return str(crash.message if crash else failed.longrepr)


def _escaped(text: str) -> str:
    for character, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"), (":", "%3A"), (",", "%2C")):
        text = text.replace(character, code)
    return text
