"""Every check of the benchmark module, of the soak and of the tests over sockets, seen red: what is wrong is named."""

import dataclasses
import io
import re
from functools import partial

import numpy as np
import pytest

from benchmarks import test_serving as case
from benchmarks.load.serving import Outcome
from impl.serving import VARIANTS
from impl.serving.client import Answer, as_npy
from impl.serving.http.inputs import Decoder
from impl.serving.runtime import batching
from tests.serving import soak, test_http, test_inputs
from tests.serving.conftest import TINY, npy, pictures


def answer(kinds, status=200, cached=False, success=True):
    found = [{"index": int(kind)} for kind in kinds]
    return Answer(status, {"success": success, "predictions": found, "cached": cached}, {}, 0.1)


class StandIn:
    """Clients of a server that is not there: it is right, but for what `spoil` makes of its answers."""

    def __init__(self, spoil=lambda answers: answers, **more):
        self.spoil, self.more, self.place = spoil, more, 0

    def post(self, bodies):
        answers = []
        for body, _ in bodies:
            count = len(np.load(io.BytesIO(body)))
            answers.append(answer(np.arange(self.place, self.place + count) % 10, **self.more))
            self.place += count
        return self.spoil(answers)


class Benchmark:
    """A benchmark that measures nothing."""

    disabled = True

    @staticmethod
    def pedantic(call, arguments=(), **_):
        return call(*arguments)


def swapped(answers):
    return [answers[1], answers[0], *answers[2:]]


def changed(answers, count=1):
    kinds = case.indices(answers[0])
    return [answer([(kind + (place < count)) % 10 for place, kind in enumerate(kinds)]), *answers[1:]]


def test_an_answer_that_goes_to_another_client():
    for spoil in (lambda answers: answers, swapped):
        crowd = case.Crowd(StandIn(spoil), as_npy)
        answers = crowd()
        if spoil is swapped:
            with pytest.raises(AssertionError, match="94% of the answers are right"):
                crowd.right(answers)
        else:
            crowd.right(answers)


@pytest.mark.parametrize(
    ("clients", "says"),
    [
        (StandIn(status=500), "status 500"),
        (StandIn(success=False), "False is True"),
        (StandIn(cached=True), "the server had seen these images"),
        (StandIn(lambda answers: [answer(case.indices(answers[0])[:-1])]), "63 predictions for 64 images"),
        (StandIn(partial(changed, count=2)), "0.96875 >= 0.97"),
        (StandIn(changed), None),
    ],
)
def test_what_is_timed_is_checked(clients, says):
    pictures, kinds = case.draw_pictures(64, 1)
    side = case.Side(clients, as_npy, pictures, kinds, 64)
    if says is None:
        assert side.right(side()) == 63 / 64
        return

    def run():
        assert side.right(side()) >= 0.97

    with pytest.raises(AssertionError, match=re.escape(says)):
        run()


def test_other_classes_than_the_baselines(monkeypatch):
    monkeypatch.setattr(case, "compared", case.compared.__wrapped__)  # what it keeps is for the benchmarks
    monkeypatch.setattr(case, "expected_classes", lambda pictures: [place % 10 for place in range(len(pictures))])
    run = partial(case.test_matches, "optimised", 17, lambda _: ("", None))
    run(lambda _: StandIn(), "int8")
    with pytest.raises(AssertionError, match="1 of 17 predictions differ from the baseline's"):
        run(lambda _: StandIn(changed), "int8")
    monkeypatch.setattr(case, "expected_classes", lambda pictures: [3] * len(pictures))
    with pytest.raises(AssertionError, match="the seeded weights do not tell the pictures apart"):
        run(lambda _: StandIn(), "int8")


def test_a_hit_that_is_none():
    run = partial(case.test_time_of_a_hit, "optimised", Benchmark(), lambda *_: ("", None))
    run(lambda _: StandIn(cached=True))
    with pytest.raises(AssertionError):
        run(lambda _: StandIn(cached=False))


@pytest.mark.parametrize(
    ("count", "variant", "slow", "says"),
    [
        (64, "optimised", 2.0, r"optimised is 5\.00 times faster; the floor is 7"),
        (64, "preloaded", 12.5, r"preloaded is 0\.80 times faster; the floor is 1\.05"),
        (1, "memoised", 8.0, r"memoised is 1\.25 times faster; the floor is 2"),
    ],
)
def test_a_ratio_below_its_floor(count, variant, slow, says, monkeypatch, request):
    times = {(name, count): [seconds] for name, seconds in zip(VARIANTS, (10.0, 4.0, 4.0, 1.0), strict=True)}
    monkeypatch.setattr(case, "times", times)
    notes = request.config.stash[case.GATE].report.notes
    monkeypatch.setattr(request.config.stash[case.GATE].report, "notes", list(notes))
    more = []

    def again(name, *_):
        more.append(name)
        return times[name, count][0]

    monkeypatch.setattr(case, "again", again)
    case.test_ratios(count, "int8", request, None, None)
    assert not more
    times[variant, count] = [slow]
    with pytest.raises(AssertionError, match=says):
        case.test_ratios(count, "int8", request, None, None)
    assert more == ["baseline", variant] * case.MORE


def test_a_ratio_that_one_request_put_below_its_floor(monkeypatch, request):
    times = {(name, 64): [seconds] for name, seconds in zip(VARIANTS, (10.0, 9.9, 4.0, 1.0), strict=True)}
    monkeypatch.setattr(case, "times", times)
    monkeypatch.setattr(request.config.stash[case.GATE].report, "notes", [])
    monkeypatch.setattr(case, "again", lambda name, *_: {"baseline": 10.0, "preloaded": 9.0}[name])
    case.test_ratios(64, "int8", request, None, None)


HELD = Outcome([5.0] * 400, [0.004] * 1400, [], 0, 12.0, (10**9, 10**9 + 10**8, 10**9 + 10**8))


@pytest.mark.parametrize(
    ("change", "says", "missed"),
    [
        ({}, None, None),
        ({"others": [500]}, "other statuses than 200 and 429: [500]", "only 200 and 429 in overload"),
        ({"wrong": 13}, "13 wrong", "every answer right"),
        ({"accepted": [5.0] * 380 + [20.0] * 20}, "p99 of the accepted is over twice", "p99 of the accepted"),
        ({"refused": [0.004] * 300}, "too few were refused", None),
        ({"refused": [0.004] * 1300 + [0.06] * 100}, "some were refused late", "p99 of the refused"),
        ({"memory": (10**9, 12 * 10**8, 12 * 10**8)}, "memory has grown", "memory flat"),
    ],
)
def test_an_overload_that_was_not_held(change, says, missed):
    found = dataclasses.replace(HELD, **change)
    if says is None:
        case.assert_held(found, 40)
    else:
        with pytest.raises(AssertionError, match=re.escape(says)):
            case.assert_held(found, 40)
    checks = soak.judge(found, 40, {"400": 10_000}, (320, 320), (found.memory[0], found.memory[2]))
    assert [name for name, held in checks.items() if not held] == [name for name in checks if missed and missed in name]


def test_a_soak_that_was_not_survived():
    def missed(statuses, right):
        return [name for name, held in soak.judge(HELD, 40, statuses, right, (0, 0)).items() if not held]

    damaged = "only 200, 400, 413, 415 and 422 for spoiled requests"
    assert missed({"400": 9_999, "500": 1}, (320, 320)) == [damaged]
    assert missed({"none": 1}, (320, 319)) == ["every answer right", damaged]


def test_a_server_that_gives_each_the_answer_before(build, listen, monkeypatch):
    finish, last = batching.Job.finish, [None]

    def late(job, logits=None, refusal=None):
        alike = None not in (logits, last[0]) and last[0].shape == logits.shape
        given, last[0] = last[0] if alike else logits, logits
        finish(job, given, refusal)

    monkeypatch.setattr(batching.Job, "finish", late)
    with pytest.raises(AssertionError):
        test_http.test_every_image_gets_its_own_answer(build, listen)


def test_a_server_that_works_for_clients_who_left(build, listen, monkeypatch):
    monkeypatch.setattr(batching, "dropped", lambda _job: False)
    with pytest.raises(AssertionError, match=r"\d+ forward passes, for 2 clients who stayed"):
        test_http.test_clients_that_leave_cost_no_forward_pass(build, listen)


def test_a_server_that_stumbles(build, monkeypatch):
    """An error that no client is to blame for is a 500, which the spoiled requests look for."""
    client = build(model=TINY).test_client()
    right = test_inputs.kinds_of(client.post("/predict", data=npy(pictures(3))).json)

    def stumble(*_):
        raise RuntimeError("made to fail")

    monkeypatch.setattr(Decoder, "picture", stumble)
    with pytest.raises(AssertionError, match="500 for"):
        test_inputs.test_seven_thousand_spoiled_requests(client, right)
