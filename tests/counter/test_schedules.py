"""Layer two: schedules that force each of the baseline's two faults, so that showing them does not depend on chance."""

import threading

import pytest

from impl.counter import VARIANTS, baseline, check_log
from impl.counter.threads import Shared, together
from tests.counter.memory_log import MemoryLog


@pytest.mark.parametrize("threads", [2, 15])
def test_baseline_overshoots_by_all_but_one_thread(threads):
    """Every thread passes the limit check before any opens the log, and then each of them counts."""
    shared, log, all_passed = Shared(limit=1), MemoryLog(), threading.Barrier(threads)

    def open_log():
        all_passed.wait(timeout=10)
        return log

    result = together(lambda thread: baseline.count_up(shared, thread, open_log), shared, threads, 0.0)
    assert result.count == threads
    assert result.per_thread == (1,) * threads


def test_baseline_overshoots_in_its_file(tmp_path, monkeypatch):
    """The same fault through the public function, with the barrier where the file is opened."""
    path, all_passed = tmp_path / "log", threading.Barrier(15)
    original_open = type(path).open

    def open_together(self, mode="r", *args, **kwargs):
        if mode == "a":
            all_passed.wait(timeout=10)
        return original_open(self, mode, *args, **kwargs)

    monkeypatch.setattr(type(path), "open", open_together)
    assert VARIANTS["baseline"](path, threads=15, limit=1).count == 15
    report = check_log(path, 1)
    assert not report.ok
    assert report.entries == 15


def test_baseline_first_and_third_lines_differ():
    """Thread 2 counts while thread 1 is between its first line and its third."""
    shared, log = Shared(limit=2), MemoryLog()
    first_line_written, second_counted = threading.Event(), threading.Event()

    def schedule(write):
        def step(text):
            if text == "Increased Count to 1 from thread 1\n":
                first_line_written.set()
                assert second_counted.wait(timeout=10)
            elif text == "Increased Count to 2 from thread 2\n":
                second_counted.set()
            write(text)

        return step

    log.write = schedule(log.write)

    def work(thread):
        if thread == 2:
            assert first_line_written.wait(timeout=10)
        return baseline.count_up(shared, thread, lambda: log)

    together(work, shared, threads=2, start_delay=0.0)
    written = "".join(log.texts)
    assert "Increased Count to 1 from thread 1\n" in written
    assert "Now the count is 2 from thread 1\n" in written
