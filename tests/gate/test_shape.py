"""The shape of a result, and the rule by which it is smaller: results of any kind, bad ones included."""

import json
import re
import time
from collections import deque
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np
import pytest

from benchmarks.gate.compare.work import observe as observing
from benchmarks.gate.compare.work.observe import Observation, observe, timed
from benchmarks.gate.compare.work.shape import CUT, DEPTH, ITEMS, PARTS, Part, either, shape_of
from benchmarks.gate.judge.reasons import Reason
from benchmarks.gate.judge.work import Fall, WorkRow
from benchmarks.gate.report import work


@dataclass
class Rows:
    tokens: object
    labels: object
    name: str = "rows"


class Tensor:
    """As torch has it: a tuple of a class of its own, and a type that prints with a prefix."""

    shape = (2, 3)
    dtype = "torch.float32"


class Answer:
    """As werkzeug's test client has it."""

    def __init__(self, status, data):
        self.status_code, self.data = status, data


class Raising:
    def __getattr__(self, name):
        raise AttributeError(name) if name.startswith("__") else OSError(name)  # pytest asks for the first kind

    def __len__(self):
        raise OSError("len")

    def __iter__(self):
        raise OSError("iter")


class Pair(NamedTuple):
    left: int
    right: int


def sizes(result):
    return {place: (part.kind, part.greatest) for place, part in shape_of(result).items()}


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (None, {"": ("NoneType", ())}),
        (10**9, {"": ("int", ())}),
        (0.5, {"": ("float", ())}),
        ("text", {"": ("str", (4,))}),
        (b"bytes", {"": ("bytes", (5,))}),
        (memoryview(np.zeros((3, 2))), {"": ("memoryview", (48,))}),
        (np.zeros((3, 2), np.uint8), {"": ("ndarray of uint8", (3, 2))}),
        (np.float64(2), {"": ("float64 of float64", ())}),
        (Tensor(), {"": ("Tensor of torch.float32", (2, 3))}),
        (Tensor, {"": ("type", ())}),
        (range(5), {"": ("range", (5,))}),
        ({3, 4}, {"": ("set", (2,))}),
        (deque([1]), {"": ("deque", (1,)), "[0]": ("int", ())}),
        (("a", [1]), {"": ("tuple", (2,)), "[0]": ("str", (1,)), "[1]": ("list", (1,)), "[1][0]": ("int", ())}),
        (
            ["a", "abc", 5, ["b"]],
            {
                "": ("list", (4,)),
                "[]": ("str", (3,)),
                "[2]": ("int", ()),
                "[3]": ("list", (1,)),
                "[3][]": ("str", (1,)),
            },
        ),
        (["a", b"b"], {"": ("list", (2,)), "[]": ("bytes or str", ())}),
        (Pair(1, 2), {"": ("Pair", (2,)), "[0]": ("int", ()), "[1]": ("int", ())}),
        (
            {"a": "x", 2: "yy", (1,): None},
            {"": ("dict", (3,)), "['a']": ("str", (1,)), "[2]": ("str", (2,)), "[item 2]": ("NoneType", ())},
        ),
        (
            Rows(np.zeros(3, np.int64), "ab"),
            {
                "": ("Rows", (3,)),
                ".tokens": ("ndarray of int64", (3,)),
                ".labels": ("str", (2,)),
                ".name": ("str", (4,)),
            },
        ),
        (Rows, {"": ("type", ())}),
        (Answer(200, b"ok"), {"": ("Answer 200", (2,))}),
        (Answer(None, b"ok"), {"": ("Answer", (2,))}),
        (count(), {"": ("count", ())}),
        (Raising(), {"": ("Raising", ())}),
        ([Raising()], {"": ("list", (1,)), "[0]": ("Raising", ())}),
    ],
)
def test_the_shape_of(result, expected):
    assert sizes(result) == expected


def test_the_shape_of_a_file_is_its_size(tmp_path):
    file = tmp_path / "log"
    file.write_bytes(b"12345")
    assert sizes(file) == {"": ("file", (5,))}
    assert sizes(tmp_path) == sizes(tmp_path / "nothing") == {"": ("path", ())}
    assert sizes(file / ("x" * 1000)) == {"": ("path", ())}


def test_what_contains_itself_is_entered_once():
    itself = [1]
    itself.append(itself)
    assert sizes(itself) == {"": ("list", (2,)), "[0]": ("int", ()), "[1]": ("list", (2,))}
    one, two = {}, {}
    one["two"], two["one"] = two, one
    assert list(shape_of(one)) == ["", "['two']", "['two']['one']"]


def test_deep_and_large_results_are_bounded():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert len(shape_of(deep)) == DEPTH + 1
    assert sizes([0] * 10**7) == {"": ("list", (10**7,))} | {f"[{item}]": ("int", ()) for item in range(ITEMS)}
    start = time.monotonic()
    wide = shape_of([[[[[[0] * 20] * 20] * 20] * 20] * 20] * 20)
    assert time.monotonic() - start < 1
    assert len(wide) == PARTS + 1
    assert CUT in wide
    assert len(wide["[7]"].least) == 1  # what is near comes first
    while deep:
        (deep,) = deep  # or its end recurses


def test_calls_that_differ_have_limits_and_the_kinds_of_both():
    shape = shape_of(["a" * 5, 1, 2, None])
    for result in (["abc", 1, 2, 3], ["a" * 9, 1, 3]):
        shape = either(shape, shape_of(result))
    assert shape[""] == Part("list", (3,), (4,))
    assert shape["[]"] == Part("str", (3,), (9,), text=True)
    assert "[3]" not in shape  # not in each
    mixed = either(either(shape_of(1), shape_of(None)), shape_of(1))
    assert mixed == {"": Part("NoneType or int")}
    assert either(shape_of(np.zeros((2, 6))), shape_of(np.zeros(9)))[""] == Part("ndarray of float64", (9,), (12,))


def test_work_is_warmed_up_and_the_least_of_some_calls_counts(monkeypatch):
    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

    clock, lasting = Clock(), iter([50.0, 0.03, 0.02, 0.04, 0.03, 0.03, 0.9])
    monkeypatch.setattr(observing, "time", clock)

    def work():
        clock.now += next(lasting)
        return [0] * 3

    found = observe(timed(work))
    assert (round(found.seconds, 9), found.calls) == (0.02, 5)
    assert Observation.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    lasting = iter([1.0, 3.0])
    assert observe(timed(work)).calls == 1  # a long one
    lasting = iter([0.001] * 200)
    assert 100 <= observe(timed(work)).calls <= 101  # short ones
    lasting = iter([1e-6] * 300)
    assert observe(timed(work)).calls == 200  # very short ones


# The rule


def row(there, here, seconds=(1.0, 1.0), **more):
    sides = (
        Observation(shape if isinstance(shape, dict) else shape_of(shape), time, 5)
        for shape, time in zip((there, here), seconds, strict=True)
    )
    return WorkRow("toy", "t.py::toy", "HEAD", *sides, **more)


@pytest.mark.parametrize(
    ("there", "here", "falls"),
    [
        ([0] * 1000, [0] * 999, [Fall("", (1000,), (999,))]),
        ([0] * 1000, [0] * 1001, []),
        (np.zeros((8, 64)), np.zeros((16, 63)), [Fall("", (8, 64), (16, 63))]),  # larger in all
        (np.zeros((8, 64)), np.zeros(512), []),
        (np.zeros((8, 64)), np.zeros(511), [Fall("", (8, 64), (511,))]),
        (Rows(np.zeros(9), "a"), Rows(np.zeros(8), "a"), [Fall(".tokens", (9,), (8,))]),
        ("x" * 1000, "x" * 950, []),  # text varies
        ("x" * 1000, "x" * 890, [Fall("", (1000,), (890,))]),
        ({"": Part("list", (90,), (100,))}, [0] * 85, []),  # and so does what varies from call to call
        ({"": Part("list", (90,), (100,))}, [0] * 80, [Fall("", (90,), (80,))]),
        ([0] * 90, {"": Part("list", (70,), (85,))}, []),
        (["x" * 9, "x" * 50], ["x" * 50, "x" * 10], []),  # drawn anew
        (["x" * 49, "x" * 50], ["x" * 10, "x" * 9], [Fall("[]", (49,), (10,))]),
        (5, 4, []),
    ],
)
def test_a_dimension_that_fell(there, here, falls):
    judged = row(there, here)
    assert list(judged.falls) == falls
    assert judged.verdict == ("shrank" if falls else "kept")
    assert judged.reasons(strict=False) == ((Reason.WORK_SHRANK,) if falls else ())


@pytest.mark.parametrize(("seconds", "verdict"), [((1.0, 0.24), "shrank"), ((1.0, 0.25), "kept"), ((1.0, 9.0), "kept")])
def test_a_time_that_fell_to_less_than_a_quarter(seconds, verdict):
    assert row(7, 7, seconds).verdict == verdict


def test_a_result_of_another_kind_is_not_compared_and_strict_is_red():
    renamed = row(shape_of({"rows": [0] * 9}), shape_of({"samples": [0] * 3}))
    assert renamed.others == (("['rows']", "list", "nothing"),)
    for judged in (renamed, row([0] * 9, (0,) * 3), WorkRow("toy", "t.py::toy", "HEAD", reason="it is skipped there")):
        assert judged.verdict == "not compared"
        assert (judged.reasons(strict=False), judged.reasons(strict=True)) == ((), (Reason.WORK_UNKNOWN,))
        assert "toy: work not compared: " in work.failure(judged, strict=True)
    assert row([0] * 9, (0,) * 3, (1.0, 0.1)).verdict == "shrank"  # by its time
    cut = {CUT: Part("more")}
    assert row(shape_of([1]) | cut, {"": Part("list", (1,), (1,))}).verdict == "kept"  # maybe among what was cut


def test_what_is_admitted():
    judged = row([0] * 9, [0] * 3, removed=True)
    assert (judged.admitted, judged.reasons(strict=True)) == (True, ())
    assert work.failure(judged, strict=True) is None
    assert work.remark(judged).endswith("its result has size 3 and not 9, as --removed admits")
    assert not row([0] * 9, [0] * 9, removed=True).admitted


def test_the_words_name_sizes_times_and_what_to_do():
    text = work.failure(
        row([np.zeros(n) for n in (5, 6, 7)], [np.zeros(n) for n in (1, 2, 3)], (1.0, 0.01)), strict=False
    )
    assert re.search(
        r"toy: its work shrank: compared with the benchmark of HEAD, .*, \[0\] of its result has size 1 and", text
    )
    assert "and so on for 1 more of its parts" in text
    assert "a call takes at least 10 ms, less than 25% of the 1 s there" in text
    assert "Restore the size, or admit the change with --removed 'toy'" in text
    assert work.cells(row([0] * 9, 5))[1:] == ("not compared", "1 s", "1 s", "9", "no size")
    assert work.cells(WorkRow("toy", "t", "HEAD", reason="x"))[2:] == ("-",) * 4
