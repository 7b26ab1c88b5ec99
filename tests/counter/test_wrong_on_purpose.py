"""The benchmark's own check turns red for a variant that is wrong, and says what is wrong and how much of it."""

from functools import partial

import pytest

from benchmarks import test_counter
from impl.counter import VARIANTS


def spoil(log_path, threads=15, limit=100_000, start_delay=0.0, *, spoiling):
    """The best variant, and then its log is changed."""
    result = VARIANTS["optimised"](log_path, threads, limit, start_delay)
    entries = log_path.read_text().split("\n\n")[:-1]
    log_path.write_text("".join(f"{entry}\n\n" for entry in spoiling(entries)))
    return result


@pytest.mark.parametrize(
    ("spoiling", "said"),
    [
        (lambda entries: [*entries[:7], *entries[6:]], r"1,235 entries of 1,234.*1 duplicate; count 7 stands 2 times"),
        (lambda entries: [*entries[:6], *entries[7:]], r"1,233 entries of 1,234.*1 missing; count 7 is missing"),
        (lambda entries: [*entries[:6], entries[7], entries[6], *entries[8:]], r"1 out of order; count 7 follows 8"),
        (lambda entries: [*entries[:6], entries[6][1:], *entries[7:]], r"1 malformed.*after 6 entries stands"),
    ],
)
def test_a_wrong_log_turns_the_benchmark_red(spoiling, said, tmp_path):
    runs = test_counter.Runs(tmp_path)
    path, result = runs.of(partial(spoil, spoiling=spoiling), 1_234)()
    with pytest.raises(AssertionError, match=f"(?s)optimised: .*{said}"):
        test_counter.assert_right("optimised", path, result, 1_234)


def test_an_unspoiled_one_does_not(tmp_path):
    path, result = test_counter.Runs(tmp_path).of(partial(spoil, spoiling=list), 1_234)()
    assert test_counter.assert_right("optimised", path, result, 1_234) == 0
