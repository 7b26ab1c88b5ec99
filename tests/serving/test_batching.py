"""The queue: which requests share a forward pass, which are refused, and which are dropped before one."""

import threading
import time

import pytest
import torch

from impl.serving.runtime.batching import Batcher, Job
from impl.serving.runtime.refusals import (
    ClientGoneError,
    DeadlinePassedError,
    DrainingError,
    ModelFailedError,
    QueueFullError,
)


class BlockingModel:
    """A model that blocks until it is released, and records the sizes of its batches."""

    def __init__(self):
        self.sizes, self.release, self.entered = [], threading.Event(), threading.Event()

    def __call__(self, images):
        self.sizes.append(len(images))
        self.entered.set()
        assert self.release.wait(10)
        return images.float().flatten(1)[:, :1]


@pytest.fixture
def model():
    return BlockingModel()


@pytest.fixture
def start(model):
    started = []

    def make(predict=model, **settings):
        batcher = Batcher(**{"max_batch": 4, "max_wait": 0.0, "max_queue": 8, **settings})
        batcher.start(lambda: predict, pytest.fail)
        started.append(batcher)
        return batcher

    yield make
    model.release.set()
    for batcher in started:
        batcher.close()
        batcher.join(10)
        assert batcher.idle


def job(*values, seconds=10.0, dtype=torch.float32, gone=lambda: False):
    return Job(torch.tensor(values, dtype=dtype).view(-1, 1, 1, 1), time.monotonic() + seconds, gone)


def busy(batcher, model):
    """Occupy the model, so that later requests wait."""
    first = batcher.submit(job(0))
    assert model.entered.wait(10)
    return first


def test_batch_sizes_count_images(start, model):
    batcher = start()
    jobs = [busy(batcher, model), *(batcher.submit(job(*values)) for values in ([1, 2], [3], [4, 5], [6, 7]))]
    assert batcher.waiting == 7
    model.release.set()
    assert [submitted.wait().flatten().tolist() for submitted in jobs] == [[0], [1, 2], [3], [4, 5], [6, 7]]
    assert model.sizes == [1, 3, 4]


def test_images_of_another_dtype_wait_for_the_next_batch(start, model):
    batcher = start()
    jobs = [busy(batcher, model), batcher.submit(job(1)), batcher.submit(job(2, dtype=torch.uint8))]
    model.release.set()
    assert [submitted.wait().item() for submitted in jobs] == [0, 1, 2]
    assert model.sizes == [1, 1, 1]


def test_a_full_queue(start, model):
    batcher = start()
    busy(batcher, model)
    for _ in range(8):
        batcher.submit(job(1))
    with pytest.raises(QueueFullError, match="8 images are waiting") as caught:
        batcher.submit(job(1))
    assert caught.value.seconds >= 1


@pytest.mark.parametrize(
    ("settings", "refusal"),
    [({"seconds": 0.01}, DeadlinePassedError), ({"gone": lambda: True}, ClientGoneError)],
    ids=["late", "gone"],
)
def test_dropped_before_it_costs_a_forward_pass(settings, refusal, start, model):
    batcher = start()
    busy(batcher, model)
    lost, kept = batcher.submit(job(1, **settings)), batcher.submit(job(2))
    time.sleep(0.02)
    model.release.set()
    assert kept.wait().item() == 2
    assert lost.done.wait(10)
    assert isinstance(lost.refusal, refusal)
    assert model.sizes == [1, 1]


def test_a_deadline_that_passes_during_the_forward_pass(start, model):
    batcher = start()
    with pytest.raises(DeadlinePassedError):
        batcher.submit(job(1, seconds=0.05)).wait()


def test_the_queue_survives_a_model_that_fails(start):
    def fail(images):
        if images.sum() < 0:
            raise RuntimeError("no")
        return images

    batcher = start(fail)
    with pytest.raises(ModelFailedError, match="the model failed"):
        batcher.submit(job(-1)).wait()
    assert batcher.submit(job(1)).wait().item() == 1


def nothing(_images):
    return torch.zeros(0, 1)


def no_tensor(_images):
    return None


def exits(_images):
    raise SystemExit


@pytest.mark.parametrize("predict", [nothing, no_tensor])
def test_a_wrong_answer_of_the_model_is_a_failure_of_these_requests(predict, start, model):
    batcher = start(lambda images: model(images) if images.sum() == 0 else predict(images))
    first, second = busy(batcher, model), batcher.submit(job(1))
    model.release.set()
    assert first.wait().item() == 0
    with pytest.raises(ModelFailedError):
        second.wait()
    assert batcher.submit(job(0)).wait().item() == 0


def test_a_failure_beside_the_model_is_a_failure_of_these_requests(start, model):
    sizes = iter([1])
    batcher = start(observe=lambda *_pass: next(sizes))
    model.release.set()
    assert batcher.submit(job(1)).wait().item() == 1
    for _ in range(2):
        with pytest.raises(ModelFailedError):
            batcher.submit(job(1)).wait()
    assert model.sizes == [1, 1, 1]


def test_what_is_observed_of_a_forward_pass(start, model):
    passes = []
    batcher = start(observe=lambda *one: passes.append(one))
    jobs = [busy(batcher, model), batcher.submit(job(1, 2)), batcher.submit(job(3))]
    time.sleep(0.2)
    model.release.set()
    for submitted in jobs:
        submitted.wait()
    (first, (waited,), seconds), (images, (longer, shorter), _) = passes
    assert (first, images) == (1, 3)
    assert 0 <= waited < 0.2 <= seconds
    assert 0.2 <= shorter <= longer < 10


@pytest.mark.parametrize("where", ["in the model", "before it"])
def test_the_end_of_the_thread_answers_every_request(where, model):
    """A request whose client cannot be asked whether it has gone ends the thread, as SystemExit does."""
    ended = []
    batcher = Batcher(max_batch=4, max_wait=0.0, max_queue=8)
    batcher.start(lambda: lambda images: model(images) if images.sum() == 0 else exits(images), ended.append)
    busy(batcher, model)
    gone = {"gone": lambda: {}["client"]} if where == "before it" else {}
    jobs = [batcher.submit(job(1, **gone)), batcher.submit(job(1)), batcher.submit(job(2, dtype=torch.uint8))]
    model.release.set()
    for submitted in jobs:
        with pytest.raises(ModelFailedError):
            submitted.wait()
    batcher.join(10)
    assert [type(error) for error in ended] == [KeyError if gone else SystemExit]
    assert batcher.idle
    with pytest.raises(DrainingError):
        batcher.submit(job(1))


def test_a_closed_queue_answers_its_waiting_requests(start, model):
    batcher = start()
    jobs = [busy(batcher, model), batcher.submit(job(1))]
    batcher.close()
    with pytest.raises(DrainingError, match="draining"):
        batcher.submit(job(2))
    model.release.set()
    assert [submitted.wait().item() for submitted in jobs] == [0, 1]


@pytest.mark.serial
def test_a_lone_client_does_not_wait_to_fill_a_batch(start, model):
    model.release.set()
    batcher = start(max_wait=5.0)
    start_time = time.monotonic()
    for value in range(3):
        batcher.submit(job(value)).wait()
    assert time.monotonic() - start_time < 2


def test_one_of_several_clients_waits_to_fill_a_batch(start, model):
    batcher = start(max_wait=5.0)
    jobs = [busy(batcher, model), batcher.submit(job(1)), batcher.submit(job(2))]
    model.release.set()
    for submitted in jobs:
        submitted.wait()
    next_jobs = [batcher.submit(job(value)) for value in range(3)]
    time.sleep(0.05)
    next_jobs.append(batcher.submit(job(3)))
    for submitted in next_jobs:
        submitted.wait()
    assert model.sizes == [1, 2, 4]
