"""The benchmark's own check fails for a variant that breaks its promise, and reports each fault and its count."""

from dataclasses import replace
from functools import partial

import pytest

from benchmarks import test_counter as case
from impl.counter import COMPLETE_LOG, ORDERED_LOG, VARIANTS, WHOLE_ENTRIES

pytestmark = pytest.mark.thread_unsafe(reason="threads would share the folder of the fixture `runs`")


def corrupted(log_path, threads=15, limit=100_000, start_delay=0.0, *, corrupt):
    """Run the best variant, then corrupt its log."""
    result = VARIANTS[case.BEST](log_path, threads, limit, start_delay)
    entries = log_path.read_text().split("\n\n")[:-1]
    log_path.write_text("".join(f"{entry}\n\n" for entry in corrupt(entries)))
    return result


def duplicated(entries):
    return [*entries[:7], *entries[6:]]


def swapped(entries):
    return [*entries[:6], entries[7], entries[6], *entries[8:]]


def one_missing(entries):
    return [*entries[:6], *entries[7:]]


def one_damaged(entries):
    return [*entries[:6], entries[6][1:], *entries[7:]]


@pytest.mark.parametrize(
    ("corrupt", "promise", "message"),
    [
        (duplicated, ORDERED_LOG, r"1,235 entries of 1,234.*1 duplicate; count 7 occurs 2 times"),
        (duplicated, COMPLETE_LOG, r"1,235 entries of 1,234.*1 duplicate; count 7 occurs 2 times"),
        (one_missing, ORDERED_LOG, r"1,233 entries of 1,234.*1 missing; count 7 is missing"),
        (one_missing, COMPLETE_LOG, r"1,233 entries of 1,234.*1 missing; count 7 is missing"),
        (one_missing, WHOLE_ENTRIES, r"1,233 entries of 1,234.*1 missing; count 7 is missing"),
        (swapped, ORDERED_LOG, r"1 out of order; count 7 follows 8"),
        (one_damaged, ORDERED_LOG, r"1 malformed.*text after 6 entries: "),
        (
            lambda entries: [*one_damaged(entries), entries[0]],
            WHOLE_ENTRIES,
            r"1 malformed.*text after 6 entries: ",
        ),
    ],
)
def test_a_broken_promise(corrupt, promise, message, runs):
    run = runs.of(partial(corrupted, corrupt=corrupt), 1_234)()
    with pytest.raises(AssertionError, match=f"(?s){message}"):
        case.assert_kept(promise, run, 1_234)


@pytest.mark.parametrize(
    ("corrupt", "promise"),
    [(list, ORDERED_LOG), (swapped, COMPLETE_LOG), (duplicated, WHOLE_ENTRIES), (swapped, WHOLE_ENTRIES)],
)
def test_a_kept_promise(corrupt, promise, runs):
    run = runs.of(partial(corrupted, corrupt=corrupt), 1_234)()
    assert case.assert_kept(promise, run, 1_234) == len(corrupt([""] * 1_234)) - 1_234


def test_matches_checks_what_the_variant_promises(runs, monkeypatch):
    """The same wrong order fails under one promise and passes under a weaker one."""
    variant = replace(VARIANTS[case.BEST], build=partial(corrupted, corrupt=swapped))
    monkeypatch.setattr(case, "VARIANTS", {**VARIANTS, "wrong": variant})
    monkeypatch.setattr(case, "without_clock", lambda _path: b"")  # skip the one-thread check, which would fail first
    with pytest.raises(AssertionError, match="1 out of order"):
        case.test_matches("wrong", 1_234, runs)
    monkeypatch.setattr(case, "VARIANTS", {**VARIANTS, "wrong": replace(variant, promise=COMPLETE_LOG)})
    case.test_matches("wrong", 1_234, runs)


@pytest.fixture
def runs(tmp_path):
    return case.Runs(tmp_path)
