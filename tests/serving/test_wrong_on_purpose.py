"""Every check of the benchmark module, the soak test and the socket tests fails when it should."""

import dataclasses
import io
import re
from collections import Counter
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import test_serving as case
from benchmarks.load.clients import Answered, Requests, WrongAnswerError, classes_of
from benchmarks.load.open_loop import Reply
from benchmarks.load.overload import Outcome
from impl.serving import VARIANTS
from impl.serving.client import Answer, as_npy
from impl.serving.http.inputs import Decoder
from impl.serving.http.pickled import HEADER
from impl.serving.runtime import batching
from impl.variant import SAME_BYTES
from tests.serving import soak, test_http, test_inputs
from tests.serving.conftest import TINY, npy, pictures

BEST = case.BEST


def answer(kinds, status=200, cached=False, success=True, **fields):
    entries = [{"index": int(kind)} for kind in kinds]
    return Answer(status, {"success": success, "predictions": entries, "cached": cached, **fields}, {}, 0.1)


class FakeClients:
    """Clients of a server that is always right, except for what `damage` does to its answers."""

    def __init__(self, damage=lambda answers: answers, **fields):
        self.damage, self.fields = damage, fields

    def post(self, bodies):
        answers, start = [], 0
        for body in bodies:
            count = len(np.load(io.BytesIO(body[0])))
            answers.append(answer(np.arange(start, start + count) % 10, **self.fields))
            start += count
        return self.damage(answers)


class Benchmark:
    """A benchmark that measures nothing."""

    disabled = True

    @staticmethod
    def pedantic(call, arguments=(), **_):
        return call(*arguments)


def swapped(answers):
    return [answers[1], answers[0], *answers[2:]]


def changed(answers, count=1):
    """Change the first `count` classes of the first answer."""
    kinds = classes_of(answers[0])
    body = answers[0].body
    return [
        answer(
            [(kind + (position < count)) % 10 for position, kind in enumerate(kinds)],
            **{key: value for key, value in body.items() if key == "precision"},
        ),
        *answers[1:],
    ]


def test_an_answer_that_goes_to_another_client():
    for damage in (lambda answers: answers, swapped):
        requests = Requests(FakeClients(damage), as_npy, requests=32)
        answers = requests()
        if damage is swapped:
            with pytest.raises(WrongAnswerError, match=r"93\.8% of the predictions are right; 97\.0% are required"):
                requests.check(answers)
        else:
            requests.check(answers)


@pytest.mark.parametrize(
    ("clients", "message"),
    [
        (FakeClients(status=500), "status 500"),
        (FakeClients(success=False), "status 200: {'success': False"),
        (FakeClients(cached=True), "the server had seen these images"),
        (FakeClients(lambda answers: [answer(classes_of(answers[0])[:-1])]), "63 predictions for 64 images"),
        (FakeClients(partial(changed, count=2)), "96.9% of the predictions are right; 97.0% are required"),
        (FakeClients(changed), None),
    ],
)
def test_what_is_timed_is_checked(clients, message):
    requests = Requests(clients, as_npy, images=64)
    if message is None:
        requests.check(requests())
        return
    with pytest.raises(AssertionError, match=re.escape(message)):
        requests.check(requests())


def test_every_call_sends_different_images():
    sent = []
    requests = Requests(SimpleNamespace(post=lambda bodies: sent.extend(bodies) or FakeClients().post(bodies)), as_npy)
    for _ in range(3):
        requests.check(requests())
    assert len({body for body, _ in sent}) == 3


@pytest.mark.parametrize(
    ("precision", "count", "wrong"),
    [("int8", 40, 1), ("int8", 40, 2), ("bfloat16", 40, 1), ("float32", 40, 1), (None, 40, 1)],
)
def test_predictions_that_differ_from_the_baselines(precision, count, wrong):
    """The variant's promise limits how many may differ; a precision that must agree more closely allows fewer."""
    kinds = [position % 10 for position in range(count)]
    (wrong_answer,) = changed([answer(kinds, **({"precision": precision} if precision else {}))], wrong)
    check = partial(case.assert_promised, BEST, wrong_answer, kinds)
    if (precision, wrong) == ("int8", 1):
        check()
        return
    with pytest.raises(AssertionError, match=f"{wrong} of 40 predictions differ from the baseline's"):
        check()


def test_one_different_prediction_breaks_the_promise_of_an_exact_variant():
    kinds = list(range(10))
    same = Answer(200, {"success": True}, {HEADER: " ".join(map(str, kinds))}, 0.1)
    other = dataclasses.replace(same, headers={HEADER: " ".join(map(str, [1, *kinds[1:]]))})
    for name in list(VARIANTS)[:3]:
        case.assert_promised(name, same, kinds)
        with pytest.raises(AssertionError, match="1 of 10 predictions differ"):
            case.assert_promised(name, other, kinds)


def test_a_promise_without_a_check(monkeypatch):
    monkeypatch.setitem(VARIANTS, BEST, dataclasses.replace(VARIANTS[BEST], promise=SAME_BYTES))
    with pytest.raises(AssertionError, match="no check for same bytes"):
        case.assert_promised(BEST, answer([1]), [1])


def test_a_timed_hit_must_come_from_the_answer_cache():
    run = partial(case.test_time_of_a_hit, BEST, Benchmark(), lambda *_: ("", None))
    run(lambda _: FakeClients(cached=True))
    with pytest.raises(AssertionError):
        run(lambda _: FakeClients(cached=False))


@pytest.mark.parametrize(("reference", "variant", "count"), case.CLAIMS)
def test_every_asserted_ratio_is_a_duel_with_a_floor(reference, variant, count):
    """In the rounds of its reference, and with the answers of both sides checked."""
    duels = []
    run_speedup = partial(
        case.test_speedup,
        reference,
        variant,
        count,
        lambda *sides, **settings: duels.append((sides, settings)),
        lambda *of: of,
    )
    for precision in ("int8", "bfloat16", "float32"):
        run_speedup(precision)
        floor = case.FLOORS[reference, count][variant]
        (measured, settings) = duels[-1]
        assert measured == ((reference, count), variant)
        assert settings["floor"] == (floor[precision] if isinstance(floor, dict) else floor) >= 1
    right, wrong = (Answered([answer([kind] * count)], [[3] * count]) for kind in (3, 7))
    settings["check"](right, right)
    for sides in ((right, wrong), (wrong, right)):
        with pytest.raises(WrongAnswerError):
            settings["check"](*sides)


class Servers:
    """Stands in for the pool of servers, and for the clients of all of them."""

    def __init__(self):
        self.started, self.restarts, self.sent = [], 0, []

    def start_all(self, *commands):
        self.started.append([command[2] for command in commands])
        return [(f"http://{command[2]}:{self.restarts}", None) for command in commands]

    def connect(self, _url):
        return SimpleNamespace(post=lambda bodies: self.sent.extend(bodies) or FakeClients().post(bodies), close=int)


@pytest.fixture
def rounds_of(monkeypatch):
    """The fixture of the benchmark module, without servers: (function, servers, the arguments of all rounds)."""
    servers, made = Servers(), []
    monkeypatch.setattr(case, "Clients", servers.connect)
    monkeypatch.setattr(case, "encoder_of", lambda _: as_npy)
    fixture = case.rounds_of.__wrapped__(lambda *sides, prepare: made.append((*sides, prepare)), servers)
    yield next(fixture), servers, made
    assert next(fixture, None) is None


@pytest.mark.parametrize(("reference", "count"), case.FLOORS)
def test_rounds_have_all_that_are_compared_with_their_reference(reference, count, rounds_of):
    """And in no round does a server get pictures that any of them has seen."""
    of, servers, made = rounds_of
    of(reference, count)
    ((side, others, prepare),) = made
    assert servers.started == [[reference, *case.FLOORS[reference, count]]]
    assert list(others) == list(case.FLOORS[reference, count])
    servers.sent.clear()
    for _ in range(2):
        prepare()
        for each in (side, *others.values()):
            case.check_answers(each())
    assert len({body for body, _ in servers.sent}) == len(servers.sent) == 2 * (1 + len(others))


def test_rounds_last_as_long_as_their_servers(rounds_of):
    of, servers, made = rounds_of
    of(case.BASELINE, 1)
    of(case.BASELINE, 1)
    assert len(made) == 1
    servers.restarts += 1
    of(case.BASELINE, 1)
    assert len(made) == 2


@pytest.mark.parametrize("names", [[], ["optimised"], list(VARIANTS)])
def test_the_plot_shows_what_was_timed(names, tmp_path, request):
    """For any selection of tests: without timings there is no plot, and the plot depends on no other test."""
    (tmp_path / ".results").mkdir()
    fixture = case.plotted.__wrapped__(SimpleNamespace(config=SimpleNamespace(rootpath=tmp_path)))
    series = next(fixture)
    series.update({name: [0.1, 0.2] for name in names})
    assert next(fixture, None) is None
    plot = tmp_path / ".results" / "serving.svg"
    assert plot.exists() is bool(names)
    assert all(name in plot.read_text() for name in names)


GOOD_OUTCOME = Outcome([5.0] * 400, [0.004] * 1400, [], 0, 12.0, (10**9, 10**9 + 10**8, 10**9 + 10**8))


@pytest.mark.parametrize(
    ("change", "message", "missed"),
    [
        ({}, None, None),
        ({"others": [500]}, "other statuses than 200 and 429: [500]", "only 200 and 429 in overload"),
        ({"wrong": 13}, "13 wrong", "every answer right"),
        ({"accepted": [5.0] * 380 + [20.0] * 20}, "p99 of the accepted exceeds twice", "p99 of the accepted"),
        ({"refused": [0.004] * 300}, "too few were refused", None),
        ({"refused": [0.004] * 1300 + [0.06] * 100}, "some were refused late", "p99 of the refused"),
        ({"memory": (10**9, 12 * 10**8, 12 * 10**8)}, "memory has grown", "memory flat"),
    ],
)
def test_each_overload_check_fails_when_it_should(change, message, missed):
    outcome = dataclasses.replace(GOOD_OUTCOME, **change)
    if message is None:
        case.assert_withstood(outcome, 40)
    else:
        with pytest.raises(AssertionError, match=re.escape(message)):
            case.assert_withstood(outcome, 40)
    checks = soak.judge(findings(overloaded=outcome, memory=[outcome.memory[0], outcome.memory[2]]))
    assert [name for name, held in checks.items() if not held] == [name for name in checks if missed and missed in name]


def findings(**changes):
    """Return what a soak has seen that went well, with changes."""
    return soak.Findings(
        **{
            "capacity": 40,
            "right": [320, 320],
            "malformed": Counter({"400": 10_000}),
            "fuzzed": Counter({"400": 10_000, "504": 1}),
            "good": [Reply(Answer(200, {}, {}, 0.1), 3, 0.1)],
            "health": [0.002],
            "overloaded": GOOD_OUTCOME,
            "memory": [0, 0],
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({}, []),
        ({"malformed": Counter({"400": 9_999, "500": 1})}, ["for malformed requests"]),
        ({"malformed": Counter({"400": 9_999, "504": 1})}, ["for malformed requests"]),
        ({"fuzzed": Counter({"400": 9_999, "500": 1})}, ["for what schemathesis makes"]),
        ({"malformed": Counter({"none": 1}), "right": [320, 319]}, ["every answer right", "for malformed requests"]),
        ({"good": []}, ["every good request beside them"]),
        ({"good": [Reply(Answer(429, {}, {}, 0.1), 3, 0.1)]}, ["every good request beside them"]),
        ({"health": [0.002, 0.6]}, ["/health within 0.5 s"]),
        ({"health": [float("inf")]}, ["/health within 0.5 s"]),
    ],
)
def test_a_soak_that_failed(changes, missed):
    found = [name for name, held in soak.judge(findings(**changes)).items() if not held]
    assert len(found) == len(missed)
    assert all(part in name for part, name in zip(missed, found, strict=True))


def test_what_fails_beside_a_soak_fails_it():
    def fail(_ended):
        raise ConnectionResetError("closed")

    with pytest.raises(ConnectionResetError, match="closed"), soak.beside(lambda ended: ended.wait(60), fail):
        pass


def test_a_server_that_sends_each_client_the_previous_answer(build, listen, monkeypatch):
    finish, last = batching.Job.finish, [None]

    def send_previous(job, logits=None, refusal=None):
        same_shape = None not in (logits, last[0]) and last[0].shape == logits.shape
        sent, last[0] = last[0] if same_shape else logits, logits
        finish(job, sent, refusal)

    monkeypatch.setattr(batching.Job, "finish", send_previous)
    with pytest.raises(AssertionError):
        test_http.test_every_image_gets_its_own_answer(build, listen)


@pytest.mark.serial
def test_a_server_that_works_for_clients_that_disconnected(build, listen, monkeypatch):
    monkeypatch.setattr(batching, "dropped", lambda _job: False)
    with pytest.raises(AssertionError, match=r"\d+ forward passes for 2 clients that stayed"):
        test_http.test_clients_that_disconnect_cost_no_forward_pass(build, listen)


def test_a_server_that_fails(build, monkeypatch):
    """A bug in the server gives a 500, which the tests with malformed requests detect."""
    client = build(model=TINY).test_client()
    right = test_inputs.kinds_of(client.post("/predict", data=npy(pictures(3))).json)

    def fail(*_):
        raise RuntimeError("made to fail")

    monkeypatch.setattr(Decoder, "_opened", fail)
    with pytest.raises(AssertionError, match="500 for"):
        test_inputs.test_seven_thousand_malformed_requests(client, right)
