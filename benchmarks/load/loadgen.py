"""mlcommons-loadgen as a second witness: its "Server" scenario, over a real socket.

LoadGen decides when each request is due, counts its time from then, and says whether enough of them were in time. Its
rule takes single requests for independent, which they are not (see `poisson`), and the runs here are shorter than
MLPerf's: what it says is no MLPerf result.
"""

import re
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .open_loop import PICTURES, OpenLoop, Reply

__all__ = ["LoadgenRun", "run_loadgen"]

PERCENTILE = 0.99
RESULT = re.compile(r"^Result is : (\w+)", re.MULTILINE)
LATENCY = re.compile(r"^([\d.]+) percentile latency \(ns\)\s*: (\d+)", re.MULTILINE)


@dataclass(frozen=True)
class LoadgenRun:
    """One run.

    Attributes:
        result: LoadGen's word: VALID or INVALID.
        percentiles: Seconds from when a request was due, by per cent.
        requests: How many were posted.
        refused: How many were not answered with 200. LoadGen counts them as answered.
    """

    result: str
    percentiles: dict[float, float]
    requests: int
    refused: int


def run_loadgen(load: OpenLoop, rate: float, bound: float, seconds: float, folder: Path) -> LoadgenRun:
    """Post `rate` requests per second for `seconds`, of which 99 % have to be answered within `bound` seconds.

    LoadGen writes its own files into `folder`.

    Raises:
        ImportError: mlcommons-loadgen is not installed.
    """
    import mlperf_loadgen  # noqa: PLC0415 - there are wheels for some platforms only

    settings = mlperf_loadgen.TestSettings()
    settings.scenario = mlperf_loadgen.TestScenario.Server
    settings.mode = mlperf_loadgen.TestMode.PerformanceOnly
    settings.server_target_qps = rate
    settings.server_target_latency_ns = round(1e9 * bound)
    settings.server_target_latency_percentile = PERCENTILE
    settings.min_duration_ms = settings.max_duration_ms = round(1e3 * seconds)
    settings.min_query_count = 1
    logs = mlperf_loadgen.LogSettings()
    logs.enable_trace = False
    logs.log_output.copy_summary_to_stdout = False
    logs.log_output.outdir = str(folder)
    folder.mkdir(parents=True, exist_ok=True)

    replies: list[Future[Reply]] = []

    def completes(number: int) -> Callable[[Future[Reply]], None]:
        response = mlperf_loadgen.QuerySampleResponse(number, 0, 0)
        return lambda _reply: mlperf_loadgen.QuerySamplesComplete([response])

    def issue(samples: list[Any]) -> None:
        for sample in samples:
            reply = load.submit(sample.index, time.perf_counter())
            replies.append(reply)
            reply.add_done_callback(completes(sample.id))

    library = mlperf_loadgen.ConstructQSL(PICTURES, PICTURES, lambda _samples: None, lambda _samples: None)
    server = mlperf_loadgen.ConstructSUT(issue, lambda: None)
    try:
        mlperf_loadgen.StartTestWithLogSettings(server, library, settings, logs)
    finally:
        mlperf_loadgen.DestroySUT(server)
        mlperf_loadgen.DestroyQSL(library)
    summary = (folder / "mlperf_log_summary.txt").read_text(encoding="utf-8")
    return LoadgenRun(
        result=RESULT.findall(summary)[0],
        percentiles={float(share): int(nanoseconds) / 1e9 for share, nanoseconds in LATENCY.findall(summary)},
        requests=len(replies),
        refused=sum(reply.result().answer.status != 200 for reply in replies),
    )
