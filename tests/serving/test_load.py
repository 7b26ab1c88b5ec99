"""What the benchmark loads servers with: one server at a time, and requests at a steady rate or at random times."""

import contextlib
import itertools
import json
import math
import socketserver
import subprocess
import sys
import threading
import time
from functools import cache, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import psutil
import pytest
from scipy.stats import kstest

from benchmarks.gate.measure.share import prove_share
from benchmarks.load import rates
from benchmarks.load.clients import WrongAnswerError
from benchmarks.load.loadgen import run_loadgen
from benchmarks.load.open_loop import NOT_ANSWERED, PICTURES, SEED, OpenLoop
from benchmarks.load.overload import overload
from benchmarks.load.poisson import Window, arrivals, windows
from benchmarks.load.servers import SuspendedServers, running
from impl.serving.client import Answer, as_npy
from impl.serving.model.pictures import draw_pictures
from tests.waiting import wait_until

BUSY = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'], check=True)"


@pytest.fixture
def busy():
    """Start a process with a busy child; both are killed at the end."""
    with contextlib.ExitStack() as stack:

        def start():
            process = psutil.Process(stack.enter_context(subprocess.Popen([sys.executable, "-c", BUSY])).pid)
            wait_until(process.children)
            (child,) = process.children()
            stack.callback(process.kill)
            stack.callback(child.kill)
            return process, child

        yield start


def cpu_seconds(child, seconds=0.3):
    time.sleep(0.05)  # wait until the signal has arrived and earlier CPU time is recorded
    before = sum(child.cpu_times()[:2])
    time.sleep(seconds)
    return sum(child.cpu_times()[:2]) - before


@pytest.mark.serial
def test_only_the_server_whose_turn_it_is_runs(busy):
    (one, one_child), (other, other_child) = busy(), busy()
    with contextlib.closing(SuspendedServers(one, other)) as servers:
        assert cpu_seconds(one_child) == cpu_seconds(other_child) == 0
        with servers.turn_of(one):
            assert cpu_seconds(one_child) > 0
            assert cpu_seconds(other_child) == 0
        assert cpu_seconds(one_child) == 0
    assert cpu_seconds(one_child) > 0
    assert cpu_seconds(other_child) > 0


def test_a_server_that_does_not_start_is_ended_with_its_children():
    """A child that has its output would otherwise keep whoever waits for the address waiting."""
    start, child = time.perf_counter(), [sys.executable, "-c", "import time; time.sleep(60)"]
    server = f"import subprocess, time; subprocess.Popen({child}); time.sleep(60)"
    with pytest.raises(RuntimeError, match="printed no address, but ''"), running("-c", server, timeout=2):
        pass
    assert time.perf_counter() - start < 30


class SlowConnection:
    """A connection to a server that takes 0.1 s for each request, and says that it took none."""

    def __init__(self, _url):
        pass

    def post(self, *_body):
        time.sleep(0.1)
        return Answer(429, {}, {}, 0.0)

    def close(self):
        pass


def test_a_request_that_waits_for_a_free_client_has_waited(monkeypatch):
    """Ten requests are due within 0.1 s. One client sends the last of them 0.8 s after it was due."""
    monkeypatch.setattr("benchmarks.load.open_loop.Connection", SlowConnection)
    outcome = overload("http://nowhere", psutil.Process(), rate=100, seconds=0.1, clients=1)
    assert len(outcome.refused) == 10
    assert max(outcome.refused) >= 0.9
    assert min(outcome.refused) >= 0.1


@cache
def kinds():
    """The class of each picture that OpenLoop posts, by its body."""
    return {as_npy(picture[None])[0]: int(kind) for picture, kind in zip(*draw_pictures(PICTURES, SEED), strict=True)}


class Instant(BaseHTTPRequestHandler):
    """Answers at once: every `refuse`-th request with 429, all others with the right class."""

    protocol_version = "HTTP/1.1"
    refuse, wrong = 10**9, 0
    count = itertools.count(1)

    def do_POST(self):
        kind = kinds()[self.rfile.read(int(self.headers["Content-Length"]))]
        body = json.dumps({"success": True, "predictions": [{"index": kind + self.wrong}]}).encode()
        self.send_response(429 if next(self.count) % self.refuse == 0 else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words):
        pass


class InstantServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024  # of five, connections were refused when the machine was busy


@pytest.fixture
def instant():
    """Start clients for a server that answers at once, made with other attributes of `Instant`."""
    with contextlib.ExitStack() as stack:

        def start(**attributes):
            server = InstantServer(("127.0.0.1", 0), type("Handler", (Instant,), attributes))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            host, port = server.server_address
            return stack.enter_context(contextlib.closing(OpenLoop(f"http://{host}:{port}")))

        yield start


def test_arrivals_are_a_poisson_process():
    due = arrivals(50.0, 400.0, seed=3)
    assert due == sorted(arrivals(50.0, 400.0, seed=3))
    assert due != arrivals(50.0, 400.0, seed=4)
    assert 0 <= due[0] <= due[-1] <= 400
    assert len(due) == pytest.approx(20_000, abs=5 * 20_000**0.5)
    assert kstest(np.diff(due), "expon", (0, 1 / 50)).pvalue > 1e-4


def test_windows_are_what_follows_the_lead_in(instant, monkeypatch):
    monkeypatch.setattr("benchmarks.load.poisson.LEAD_IN", 0.3)
    parts = list(itertools.islice(windows(instant(), 200.0, seed=5, seconds=0.2, count=3), 6))
    due = [[at for at in arrivals(200.0, 0.9, seed) if at >= 0.3] for seed in (5, 6)]
    assert [sum(len(part.replies) for part in parts[first : first + 3]) for first in (0, 3)] == list(map(len, due))
    first = [at for at in due[0] if at < 0.5]
    assert len(parts[0].replies) == len(first)
    assert all(part.in_time(30.0) == 1 and part.in_time(0.0) == 0 for part in parts)


def test_a_refused_request_is_late(instant, monkeypatch):
    monkeypatch.setattr("benchmarks.load.poisson.LEAD_IN", 0.0)
    (part,) = itertools.islice(windows(instant(refuse=2), 200.0, seed=5, seconds=0.5, count=1), 1)
    assert sum(map(math.isinf, part.seconds)) == len(part.replies) // 2 > 20
    assert part.in_time(1e9) == pytest.approx(0.5, abs=0.05)
    assert Window([]).in_time(0.0) == 1


def test_a_connection_that_is_closed_is_a_request_without_an_answer(instant, monkeypatch):
    monkeypatch.setattr("benchmarks.load.poisson.LEAD_IN", 0.0)

    def close(_handler):
        raise ConnectionResetError

    monkeypatch.setattr(socketserver.BaseServer, "handle_error", lambda *_request: None)
    (part,) = itertools.islice(windows(instant(do_POST=close), 50.0, seed=5, seconds=0.5, count=1), 1)
    assert {reply.answer.status for reply in part.replies} == {NOT_ANSWERED}
    assert part.in_time(1e9) == 0


def test_wrong_predictions_end_the_load(instant):
    with pytest.raises(WrongAnswerError, match=r"^0 of \d+ pictures were recognised; 97% are required$"):
        next(windows(instant(wrong=1), 50.0, seed=5, seconds=0.2, count=1))


def test_the_curve_ends_where_most_requests_are_late(instant, monkeypatch, tmp_path):
    monkeypatch.setattr("benchmarks.load.poisson.LEAD_IN", 0.0)
    load = instant()
    (only,) = rates.curve(load, [50.0, 60.0], bound=0.0, seconds=1)
    assert (only.rate, only.late, only.refused) == (50.0, 1.0, 0)
    below, above = rates.curve(load, [50.0, 60.0], bound=30.0, seconds=1)
    assert (below.late, above.late) == (0.0, 0.0)
    assert 0 < above.percentiles[50.0] <= above.percentiles[99.0] <= above.percentiles[99.9] < 30
    (half,) = rates.curve(instant(refuse=2), [100.0], bound=30.0, seconds=1)
    assert half.refused == half.requests // 2
    assert half.percentiles[99.0] is None
    rates.draw(tmp_path / "rates.svg", {"instant": [below, above], "refusing": [half]}, 0.5)
    assert "p99.9" in (tmp_path / "rates.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(("bound", "verdict"), [(30.0, "open"), (0.0, "more than 1 % late")])
def test_a_bet_is_on_windows(instant, monkeypatch, bound, verdict):
    """Two windows in which all requests are late prove that; a few without any prove nothing."""
    monkeypatch.setattr("benchmarks.load.poisson.LEAD_IN", 0.0)
    monkeypatch.setattr("benchmarks.load.rates.windows", partial(windows, seconds=0.1))
    found = rates.proven(instant(), 100.0, bound, minutes=0.1)
    assert found["verdict"] == verdict
    assert found["late"] == (bound == 0)
    assert found["windows"] >= (30 if bound else 2)


def test_loadgen_drives_the_socket(instant, tmp_path):
    pytest.importorskip("mlperf_loadgen")
    run = run_loadgen(instant(refuse=10), 200.0, 1.0, 3.0, tmp_path)
    assert run.result == "VALID", (tmp_path / "mlperf_log_summary.txt").read_text(encoding="utf-8")
    assert run.requests == pytest.approx(600, abs=150)
    assert run.refused == run.requests // 10
    assert 0 < run.percentiles[50.0] <= run.percentiles[99.9] < 1
    late = run_loadgen(instant(), 200.0, 1e-6, 3.0, tmp_path)
    assert late.result == "INVALID"


def in_time_at_a_batching_server(rate, count, seed, bound=0.416):
    """Simulate a server that takes all that wait, for 12 ms and 13 ms for each image; 1 % of its batches are slow."""
    rng = np.random.default_rng(seed)
    due = np.cumsum(rng.exponential(1 / rate, count))
    pace = np.exp(rng.normal(0, 0.05, count)) * np.where(rng.random(count) < 0.01, 3, 1)
    in_time, free, first, batch = np.empty(count, bool), 0.0, 0, 0
    while first < count:
        start = max(free, due[first])
        last = min(int(np.searchsorted(due, start, side="right")), first + 64)
        free = start + (0.012 + 0.013 * (last - first)) * pace[batch]
        in_time[first:last] = free - due[first:last] <= bound
        first, batch = last, batch + 1
    return in_time


def proofs(rate, runs, bets):
    """Return how many runs of 1,200 windows of 60 requests "prove" that at most 1 % are late; the error is 5 %."""
    outcomes = (bets(in_time_at_a_batching_server(rate, 1200 * 60, 100 + seed)) for seed in range(runs))
    found = [prove_share(outcome, least=0.99, alpha=0.05, budget=60).verdict for outcome in outcomes]
    return found.count("above")


def of_windows(requests):
    return requests.reshape(-1, 60).mean(axis=1)


def test_bets_on_single_requests_are_wrong_and_bets_on_windows_are_not():
    """At 55.5 requests per second more than 1 % are late in the long run, and at 40 fewer are."""
    assert 0.01 < 1 - in_time_at_a_batching_server(55.5, 400_000, 1).mean() < 0.015
    assert proofs(55.5, 12, list) > 6
    assert proofs(55.5, 12, of_windows) <= 2
    assert proofs(40.0, 4, of_windows) == 4
