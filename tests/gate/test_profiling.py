"""--torch-profile, in a small suite of its own."""

import json

import torch  # noqa: F401 - a process can import it only once, and pytester would forget that

SUITE = """
import torch

def test_work(torch_profile):
    calls = []
    torch_profile(lambda: calls.append(torch.ones(3) + 1))
    assert len(calls) == {calls}
"""


def test_a_trace(pytester):
    pytester.makepyfile(test_toy=SUITE.format(calls=1))
    result = pytester.runpytest_inprocess("-p", "benchmarks.gate.plugin", "--torch-profile", "traces")
    result.assert_outcomes(passed=1)
    trace = json.loads((pytester.path / "traces" / "test_toy-test_work.json").read_text())
    assert "aten::add" in {event.get("name") for event in trace["traceEvents"]}


def test_no_trace_without_the_option(pytester):
    pytester.makepyfile(test_toy=SUITE.format(calls=0))
    pytester.runpytest_inprocess("-p", "benchmarks.gate.plugin").assert_outcomes(passed=1)
    assert not list(pytester.path.rglob("*.json"))
