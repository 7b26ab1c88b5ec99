"""The stopwatch: two clocks, batches long enough, the same count for both sides, and what is switched off."""

import cProfile
import gc
import hashlib
import subprocess
import sys
import threading
import time
import types
import weakref
from concurrent.futures import ThreadPoolExecutor
from subprocess import PIPE

import pytest

from benchmarks.gate.measure import timing


def busy(seconds):
    def work():
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass

    return work


def test_a_batch_returns_seconds_and_the_last_result():
    calls = []
    batch = timing.time_batch(lambda: calls.append(1) or len(calls), 5)
    assert (len(calls), batch.result) == (5, 5)
    assert 0 < batch.wall < 1
    assert timing.time_batch(busy(0.01), 3).wall >= 0.03


def test_a_batch_includes_what_a_gpu_still_has_to_do(monkeypatch):
    """With a stand-in for torch, whose GPU takes 10 ms per call."""
    due = [0.0]

    def synchronize(_device):
        time.sleep(max(0.0, due[0] - time.perf_counter()))

    def launch():
        due[0] = max(due[0], time.perf_counter()) + 0.01

    cuda = types.SimpleNamespace(is_initialized=lambda: True, device_count=lambda: 1, synchronize=synchronize)
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
    for _ in range(3):
        launch()  # of the other side, and not of this batch
    assert 0.03 <= timing.time_batch(launch, 3).wall < 0.05
    cuda.is_initialized = lambda: False
    assert timing.time_batch(launch, 3).wall < 0.01


def test_cpu_time_counts_work_and_not_waiting():
    waiting, working = timing.time_batch(lambda: time.sleep(0.05), 1), timing.time_batch(busy(0.05), 1)
    assert waiting.wall >= 0.05
    assert waiting.cpu < 0.02
    assert 0.01 < working.cpu < 0.06


def test_cpu_time_counts_every_thread():
    def both():
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(hashing, range(2)))

    def hashing(_):
        hashlib.pbkdf2_hmac("sha256", b"a", b"b", 100_000)

    alone = timing.time_batch(lambda: hashing(0), 1)
    assert timing.time_batch(both, 1).cpu > 1.5 * alone.cpu


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists the children that are still running")
def test_cpu_time_counts_children_that_ended_and_that_still_run():
    ends = [sys.executable, "-c", "sum(range(4_000_000))"]
    assert timing.time_batch(lambda: subprocess.run(ends, check=True), 1).cpu > 0.03
    code = "import sys\nfor line in sys.stdin:\n    print(sum(range(4_000_000)), flush=True)"
    with subprocess.Popen([sys.executable, "-c", code], stdin=PIPE, stdout=PIPE, text=True) as stays:

        def asks():
            stays.stdin.write("go\n")
            stays.stdin.flush()
            return stays.stdout.readline()

        asks()
        assert timing.time_batch(asks, 1).cpu > 0.02
        assert timing.time_batch(lambda: time.sleep(0.05), 1).cpu < 0.02, "what it used before is not this batch's"
        stays.stdin.close()


def test_work_that_makes_garbage_pays_for_it_only_where_that_is_asked():
    kept = []

    def cycles():
        for _ in range(3):
            kept.append(gc.isenabled())
            cycle = []
            cycle.append(cycle)

    with timing.settled_memory():
        assert gc.get_freeze_count() > 0
        timing.InProcess(cycles, collects=True).batch(1)
        timing.InProcess(cycles).batch(1)
        with timing.settled_memory():
            pass
        assert gc.get_freeze_count() > 0, "leaving an inner block must not end the outer one's exemption"
    assert kept == [True] * 3 + [False] * 3
    assert gc.get_freeze_count() == 0


def test_garbage_is_collected_before_a_batch_that_pays_for_its_own():
    class Node:
        pass

    node = Node()
    node.itself, gone = node, weakref.ref(node)
    del node
    gc.disable()  # or it might be collected by chance
    try:
        timing.InProcess(int, collects=True).batch(1)
    finally:
        gc.enable()
    assert gone() is None


def test_a_batch_begins_after_a_rest_that_is_not_counted(monkeypatch):
    log = []
    monkeypatch.setattr(timing, "NAP", 0.05)
    here = threading.current_thread()  # a thread of another test may sleep at the same time

    def sleep(seconds):
        if threading.current_thread() is here:
            log.append(seconds)
            busy(seconds)()

    monkeypatch.setattr(timing.time, "sleep", sleep)
    batch = timing.time_batch(lambda: log.append("call"), 2)
    assert log == [0.05, "call", "call"]
    assert batch.wall < 0.05


def test_fast_work_is_batched_until_the_faster_side_takes_a_millisecond():
    iterations, note = timing.batch_size(timing.InProcess(busy(50e-6)), timing.InProcess(busy(10e-6)))
    assert 20 <= iterations <= 200
    assert not note


def test_a_batch_that_was_preempted_does_not_pass_for_slow_work():
    class Preempted:
        batches = 0

        def call(self):
            pass

        def batch(self, iterations):
            self.batches += 1
            return timing.Batch(1e-5 * iterations + (0.02 if self.batches == 1 else 0), 0.0, None)

    assert timing.batch_size(Preempted(), Preempted())[0] >= 100


def test_slow_work_is_not_batched():
    assert timing.batch_size(timing.InProcess(busy(0.004)), timing.InProcess(busy(0.002))) == (1, "")


def test_a_slow_reference_keeps_batches_short_and_the_note_says_so():
    iterations, note = timing.batch_size(timing.InProcess(busy(0.05)), timing.InProcess(busy(1e-6)))
    assert 1 <= iterations <= 5
    assert "not 1 ms" in note
    assert "0.25 s" in note


def test_what_is_switched_off_comes_back_even_after_an_error():
    def tracer(*_):
        return None

    def look():
        return gc.isenabled(), sys.gettrace(), sys.getprofile()

    def fail():
        assert look() == (False, None, None)
        raise ZeroDivisionError

    collecting, before = gc.isenabled(), (sys.gettrace(), sys.getprofile())
    gc.enable()
    sys.settrace(tracer)
    sys.setprofile(tracer)
    try:
        with pytest.raises(ZeroDivisionError), timing.undisturbed():
            fail()
        after = look()
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
    assert after == (collecting, tracer, tracer)


def test_a_profiler_that_cannot_be_put_back_stays():
    profile = cProfile.Profile()
    profile.enable()
    try:
        before = sys.getprofile()
        with timing.undisturbed():
            pass
        after = sys.getprofile()
    finally:
        profile.disable()
    assert before is after


def test_garbage_collection_that_was_off_stays_off():
    gc.disable()
    try:
        with timing.undisturbed():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
