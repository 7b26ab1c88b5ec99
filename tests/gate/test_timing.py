"""The stopwatch: batches long enough, the same count for both sides, and collection, tracing and profiling off."""

import cProfile
import gc
import sys
import time

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
    seconds, result = timing.time_batch(lambda: calls.append(1) or len(calls), 5)
    assert (len(calls), result) == (5, 5)
    assert 0 < seconds < 1
    assert timing.time_batch(busy(0.01), 3)[0] >= 0.03


def test_a_batch_begins_after_a_rest_that_is_not_counted(monkeypatch):
    log = []
    monkeypatch.setattr(timing, "NAP", 0.05)
    monkeypatch.setattr(timing.time, "sleep", lambda seconds: log.append(seconds) or busy(seconds)())
    seconds, _ = timing.time_batch(lambda: log.append("call"), 2)
    assert log == [0.05, "call", "call"]
    assert seconds < 0.05


def test_fast_work_is_batched_until_the_faster_side_takes_a_millisecond():
    iterations, note = timing.batch_size(busy(50e-6), busy(10e-6))
    assert 20 <= iterations <= 200
    assert not note


def test_slow_work_is_not_batched():
    assert timing.batch_size(busy(0.004), busy(0.002)) == (1, "")


def test_a_slow_reference_keeps_batches_short_and_the_note_says_so():
    iterations, note = timing.batch_size(busy(0.05), busy(1e-6))
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
