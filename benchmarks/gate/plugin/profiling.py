"""`--torch-profile DIR`: a trace of a benchmark's work, for Perfetto (ui.perfetto.dev) or chrome://tracing."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ..measure.timing import Work


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("gate").addoption(
        "--torch-profile",
        type=Path,
        metavar="DIR",
        help="write one torch.profiler trace per benchmark, for ui.perfetto.dev",
    )


@pytest.fixture
def torch_profile(request: pytest.FixtureRequest) -> Callable[[Work], None]:
    """Run a callable once under torch.profiler and write the trace, if --torch-profile is given.

    Call it beside the measurement, never around it: `torch_profile(work)`. The file is named after the test.
    """
    folder: Path | None = request.config.getoption("torch_profile")

    def run(work: Work) -> None:
        if folder is None:
            return
        from torch.profiler import ProfilerActivity, profile  # noqa: PLC0415 - the gate works in suites without torch

        folder.mkdir(parents=True, exist_ok=True)
        with profile(activities=[ProfilerActivity.CPU]) as trace:
            work()
        name = re.sub(r"[^\w.-]+", "_", f"{request.node.path.stem}-{request.node.name}").strip("_")
        trace.export_chrome_trace(str(folder / f"{name}.json"))

    return run
