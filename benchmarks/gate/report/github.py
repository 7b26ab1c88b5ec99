"""What GitHub Actions shows: the report as the job's summary, and each failure as an annotation of its file.

Both are text that the job writes, and need no permission.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from .tables import Report


def write_summary(report: Report, environment: Mapping[str, str] = os.environ) -> None:
    """Add the report to the job's summary, where there is a job."""
    if path := environment.get("GITHUB_STEP_SUMMARY"):
        with Path(path).open("a", encoding="utf-8") as summary:
            summary.write(report.markdown() + "\n")


def annotations(
    reporter: pytest.TerminalReporter, report: Report, environment: Mapping[str, str] = os.environ
) -> Iterator[str]:
    """Yield a line a failed test and a line an inconclusive one, in the form that GitHub takes for annotations."""
    if environment.get("GITHUB_ACTIONS") != "true":
        return
    for failed in [*reporter.getreports("failed"), *reporter.getreports("error")]:
        file, line, _ = failed.location
        crash = getattr(failed.longrepr, "reprcrash", None)
        message = crash.message if crash else str(failed.longrepr)
        title = _escaped(failed.head_line or file)
        yield f"::error file={file},line={(line or 0) + 1},title={title}::{_escaped(message)}"
    for row in report.compared:
        if row.verdict == "inconclusive":
            file = row.test.partition("::")[0]
            yield f"::warning file={file},title={_escaped(row.name)}::{_escaped('inconclusive: ' + row.evidence())}"


def _escaped(text: str) -> str:
    for character, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"), (":", "%3A"), (",", "%2C")):
        text = text.replace(character, code)
    return text
