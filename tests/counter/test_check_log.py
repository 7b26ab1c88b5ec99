"""`check_log` must detect and report every kind of damage, because the benchmark relies on its report."""

import time

import pytest

from impl.counter import VARIANTS, check_log


def an_entry(count, thread=1, again=None, thread_again=None, stamp="1710386059.911844"):
    return (
        f"Increased Count to {count} from thread {thread}\n"
        f"Timestamp: {stamp}\n"
        f"After some time... Now the count is {again or count} from thread {thread_again or thread}\n\n"
    )


GOOD = [an_entry(n) for n in range(1, 6)]


def check(tmp_path, text, limit=5):
    path = tmp_path / "log"
    path.write_text(text, newline="")
    return check_log(path, limit)


def faults(report):
    names = ("duplicates", "gaps", "beyond", "inconsistent", "out_of_order", "malformed")
    return {name: getattr(report, name) for name in names if getattr(report, name)}


def test_a_good_log(tmp_path):
    report = check(tmp_path, "".join(GOOD))
    assert report.ok
    assert report.complete
    assert (report.entries, report.last, faults(report)) == (5, 5, {})
    assert str(report) == "5 entries of 5, the last one 5: no fault"


def test_an_empty_log(tmp_path):
    assert check(tmp_path, "", limit=0).ok
    assert faults(check(tmp_path, "", limit=3)) == {"gaps": 3}


@pytest.mark.parametrize(
    ("text", "expected", "message"),
    [
        ("".join([*GOOD[:3], GOOD[2], *GOOD[3:]]), {"duplicates": 1}, "count 3 occurs 2 times"),
        ("".join([*GOOD, GOOD[2]]), {"duplicates": 1, "out_of_order": 1}, "count 3 follows 5"),
        ("".join([*GOOD[:2], *GOOD[3:]]), {"gaps": 1}, "count 3 is missing"),
        ("".join(GOOD[1:]), {"gaps": 1}, "count 1 is missing"),
        ("".join(GOOD[:4]), {"gaps": 1}, "count 5 is missing"),
        ("".join([GOOD[0], GOOD[2], GOOD[1], *GOOD[3:]]), {"out_of_order": 1}, "count 2 follows 3"),
        ("".join([*GOOD, an_entry(6)]), {"beyond": 1}, "6 entries of 5, the last one 6: 1 beyond the limit"),
        (
            "".join([*GOOD[:4], an_entry(5, again=6)]),
            {"inconsistent": 1},
            "begins with 5 from thread 1 and ends with 6",
        ),
        ("".join([*GOOD[:4], an_entry(5, thread_again=2)]), {"inconsistent": 1}, "ends with 5 from thread 2"),
        ("".join(GOOD)[:-1], {"gaps": 1, "malformed": 1}, "malformed text after 4 entries: b'Increased Count to 5"),
        ("".join(GOOD)[:-40], {"gaps": 1, "malformed": 1}, "after 4 entries"),
        ("".join(GOOD)[1:], {"gaps": 1, "malformed": 1}, "after 0 entries"),
        ("".join([*GOOD[:2], "\n", *GOOD[2:]]), {"malformed": 1}, "malformed text after 2 entries: b'\\n'"),
        ("".join([*GOOD[:2], "disturbance", *GOOD[2:]]), {"malformed": 1}, "b'disturbance'"),
        ("".join(GOOD) + "\0" * 8, {"malformed": 1}, "after 5 entries"),
        ("".join([*GOOD[:4], an_entry("05")]), {"gaps": 1, "malformed": 1}, "05"),
        ("".join([*GOOD[:4], an_entry(5, stamp="1710386059.91184")]), {"gaps": 1, "malformed": 1}, "91184"),
        ("".join([*GOOD[:4], an_entry(5).replace("\n", "\r\n")]), {"gaps": 1, "malformed": 1}, "\\r"),
        ("".join(GOOD).replace("some", "Some", 1), {"gaps": 1, "malformed": 1}, "Some"),
        (
            GOOD[0] + "Increased Count to 2 from thread 1\n" + an_entry(3) + "".join(GOOD[3:]),
            {"gaps": 1, "malformed": 1},
            "count 2 is missing",
        ),
    ],
)
def test_damage_is_detected_and_reported(text, expected, message, tmp_path):
    report = check(tmp_path, text)
    assert faults(report) == expected
    assert not report.ok
    assert report.complete == (set(expected) == {"out_of_order"})
    assert message in str(report)


def test_a_change_of_any_byte_is_detected(tmp_path):
    text = "".join(GOOD[:2])
    for position in range(len(text)):
        assert not check(tmp_path, f"{text[:position]}x{text[position + 1 :]}", limit=2).ok, f"byte {position}"


def test_a_clock_set_back_is_reported_but_is_not_a_fault(tmp_path):
    report = check(tmp_path, GOOD[0] + an_entry(2, stamp="1710386059.911843"), limit=2)
    assert report.ok
    assert report.backwards == 1


def test_a_hundred_thousand_entries_are_checked_quickly(tmp_path):
    path = tmp_path / "log"
    VARIANTS["optimised"](path)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        assert check_log(path, 100_000).ok
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1.0, "0.1 s on one core of an AMD EPYC (Zen 5), CPython 3.11, 2026-11-23"


def test_a_missing_log(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        check_log(tmp_path / "nothing", 5)
