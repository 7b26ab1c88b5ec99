"""Arguments: invalid ones raise an error before a thread starts; unusual but valid ones work."""

import _thread
import os
import time

import numpy as np
import pytest

from impl.counter import VARIANTS, check_log, optimised

every_variant = pytest.mark.parametrize("name", VARIANTS)


@pytest.fixture
def no_thread_starts(monkeypatch):
    monkeypatch.setattr(_thread, "start_new_thread", lambda *_: pytest.fail("a thread was started"))


@every_variant
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"threads": 0}, ValueError, "threads must be at least 1, got 0"),
        ({"threads": -1}, ValueError, "threads must be at least 1"),
        ({"threads": True}, TypeError, "threads must be a whole number, got True"),
        ({"threads": 1.0}, TypeError, "threads"),
        ({"threads": "2"}, TypeError, "threads must be a whole number, got '2'"),
        ({"threads": None}, TypeError, "threads"),
        ({"limit": -1}, ValueError, "limit must be at least 0, got -1"),
        ({"limit": 1e5}, TypeError, "limit must be a whole number, got 100000.0"),
        ({"limit": False}, TypeError, "limit"),
        ({"limit": "100"}, TypeError, "limit"),
        ({"start_delay": -0.1}, ValueError, "start_delay must be finite and not negative, got -0.1"),
        ({"start_delay": float("nan")}, ValueError, "start_delay"),
        ({"start_delay": float("inf")}, ValueError, "start_delay"),
        ({"start_delay": "3"}, TypeError, "start_delay must be a number of seconds, got '3'"),
        ({"start_delay": True}, TypeError, "start_delay"),
    ],
)
def test_bad_numbers(name, arguments, error, message, tmp_path, no_thread_starts):
    with pytest.raises(error, match=message):
        VARIANTS[name](tmp_path / "log", **arguments)
    assert not (tmp_path / "log").exists(), "bad arguments must not empty a log"


@every_variant
@pytest.mark.parametrize("path", [7, None, b"log", 1.5])
def test_not_a_path(name, path, no_thread_starts):
    with pytest.raises(TypeError, match="log_path must be a path"):
        VARIANTS[name](path)


@every_variant
def test_a_folder(name, tmp_path, no_thread_starts):
    with pytest.raises(IsADirectoryError, match="the log cannot be written") as caught:
        VARIANTS[name](tmp_path)
    assert str(tmp_path) in str(caught.value)


@every_variant
def test_a_folder_that_is_a_file(name, tmp_path, no_thread_starts):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="the log cannot be written") as caught:
        VARIANTS[name](tmp_path / "file" / "log")
    assert str(tmp_path / "file" / "log") in str(caught.value)


@every_variant
def test_a_log_that_may_not_be_written(name, tmp_path, no_thread_starts):
    path = tmp_path / "log"
    path.write_text("kept")
    path.chmod(0o400)
    if os.access(path, os.W_OK):
        pytest.skip("root may write everything")
    with pytest.raises(PermissionError, match="the log cannot be written"):
        VARIANTS[name](path)
    assert path.read_text() == "kept"


@every_variant
def test_a_missing_folder_is_created(name, tmp_path):
    path = tmp_path / "a" / "b" / "log"
    VARIANTS[name](path, threads=1, limit=3)
    assert check_log(path, 3).ok


@every_variant
@pytest.mark.parametrize("as_text", [False, True])
def test_an_old_log_is_emptied(name, as_text, tmp_path):
    path = tmp_path / "log"
    path.write_text("old\n" * 1000)
    result = VARIANTS[name](str(path) if as_text else path, limit=0)
    assert path.read_bytes() == b""
    assert (result.count, result.per_thread) == (0, (0,) * 15)


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "baseline"])
@pytest.mark.parametrize(
    ("threads", "limit"), [(1, 1), (15, 1), (15, 3), (15, 9), (15, 10), (3, 11), (2, 999), (100, 1234)]
)
def test_odd_sizes(name, threads, limit, tmp_path):
    result = VARIANTS[name](tmp_path / "log", threads=threads, limit=limit)
    report = check_log(tmp_path / "log", limit)
    assert report.complete, report
    assert name == "locked" or report.ok
    assert result.count == sum(result.per_thread) == limit
    assert len(result.per_thread) == threads


def test_more_than_eight_digits_and_a_million_threads():
    """The formatting only: a log of that size would take too long to write."""
    text = bytes(optimised.entries(1_000_000, 123_456_789_012, np.array([1.5]))).decode()
    assert text == (
        "Increased Count to 123456789012 from thread 1000000\nTimestamp: 0000000001.500000\n"
        "After some time... Now the count is 123456789012 from thread 1000000\n\n"
    )


@every_variant
def test_the_start_delay_is_observed_but_not_counted(name, tmp_path):
    start = time.perf_counter()
    result = VARIANTS[name](tmp_path / "log", threads=2, limit=2, start_delay=0.3)
    assert time.perf_counter() - start >= 0.3
    assert 0 < result.seconds < 0.3


@pytest.mark.parametrize("first", [1, 10, 9_999 - 49, 10_000, 99_900, 12_345_678])
def test_entries_equal_plain_string_formatting(first):
    """Timestamps at and across the end of a second, and a clock set back by a day."""
    stamps = np.array(
        [1710386059.9, 1710386059.999999, 1710386060.0, 1710386060.000001, 1710299660.25, 1710299660.911844]
    )
    expected = ""
    for count, stamp in enumerate(stamps.tolist(), first):
        expected_stamp = f"{int(stamp)}.{int((stamp - int(stamp)) * 1e6):06d}"
        assert abs(float(expected_stamp) - stamp) < 1.1e-6
        expected += (
            f"Increased Count to {count} from thread 12\nTimestamp: {expected_stamp}\n"
            f"After some time... Now the count is {count} from thread 12\n\n"
        )
    assert bytes(optimised.entries(12, first, stamps)).decode() == expected


def test_each_entry_has_its_own_timestamp(tmp_path):
    """The clock is read for each entry: most timestamps differ, and all lie within the run."""
    before = time.time()
    VARIANTS["optimised"](tmp_path / "log", limit=20_000)
    after = time.time()
    stamps = [float(line[11:]) for line in (tmp_path / "log").read_text().splitlines() if line.startswith("Timestamp")]
    assert before - 1e-6 <= min(stamps) <= max(stamps) <= after
    assert stamps == sorted(stamps)
    coarse = time.get_clock_info("time").resolution > 1e-7
    assert coarse or len(set(stamps)) > 500
