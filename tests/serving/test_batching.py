"""The queue: which requests share a forward pass, which are refused, and which are dropped before they cost one."""

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


class Gate:
    """A model that waits until it is opened, and records the sizes of its batches."""

    def __init__(self):
        self.sizes, self.open, self.entered = [], threading.Event(), threading.Event()

    def __call__(self, images):
        self.sizes.append(len(images))
        self.entered.set()
        assert self.open.wait(10)
        return images.float().flatten(1)[:, :1]


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def start(gate):
    started = []

    def make(predict=gate, **settings):
        batcher = Batcher(**{"max_batch": 4, "max_wait": 0.0, "max_queue": 8, **settings})
        batcher.start(lambda: predict, pytest.fail)
        started.append(batcher)
        return batcher

    yield make
    gate.open.set()
    for batcher in started:
        batcher.close()
        batcher.join(10)
        assert batcher.idle


def job(*values, seconds=10.0, dtype=torch.float32, gone=lambda: False):
    return Job(torch.tensor(values, dtype=dtype).view(-1, 1, 1, 1), time.monotonic() + seconds, gone)


def busy(batcher, gate):
    """Occupy the model, so that what comes next waits."""
    first = batcher.submit(job(0))
    assert gate.entered.wait(10)
    return first


def test_batches_are_counted_in_images(start, gate):
    batcher = start()
    jobs = [busy(batcher, gate), *(batcher.submit(job(*values)) for values in ([1, 2], [3], [4, 5], [6, 7]))]
    assert batcher.waiting == 7
    gate.open.set()
    assert [found.wait().flatten().tolist() for found in jobs] == [[0], [1, 2], [3], [4, 5], [6, 7]]
    assert gate.sizes == [1, 3, 4]


def test_images_of_another_dtype_wait_for_the_next_batch(start, gate):
    batcher = start()
    jobs = [busy(batcher, gate), batcher.submit(job(1)), batcher.submit(job(2, dtype=torch.uint8))]
    gate.open.set()
    assert [found.wait().item() for found in jobs] == [0, 1, 2]
    assert gate.sizes == [1, 1, 1]


def test_a_full_queue(start, gate):
    batcher = start()
    busy(batcher, gate)
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
def test_dropped_before_it_costs_a_forward_pass(settings, refusal, start, gate):
    batcher = start()
    busy(batcher, gate)
    lost, kept = batcher.submit(job(1, **settings)), batcher.submit(job(2))
    time.sleep(0.02)
    gate.open.set()
    assert kept.wait().item() == 2
    assert lost.done.wait(10)
    assert isinstance(lost.refusal, refusal)
    assert gate.sizes == [1, 1]


def test_a_deadline_that_passes_in_the_model(start, gate):
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


def test_a_closed_queue_answers_what_it_holds(start, gate):
    batcher = start()
    jobs = [busy(batcher, gate), batcher.submit(job(1))]
    batcher.close()
    with pytest.raises(DrainingError, match="draining"):
        batcher.submit(job(2))
    gate.open.set()
    assert [found.wait().item() for found in jobs] == [0, 1]


@pytest.mark.serial
def test_a_lone_client_does_not_wait_to_fill_a_batch(start, gate):
    gate.open.set()
    batcher = start(max_wait=5.0)
    begun = time.monotonic()
    for value in range(3):
        batcher.submit(job(value)).wait()
    assert time.monotonic() - begun < 2


def test_one_of_many_waits_to_fill_a_batch(start, gate):
    batcher = start(max_wait=5.0)
    jobs = [busy(batcher, gate), batcher.submit(job(1)), batcher.submit(job(2))]
    gate.open.set()
    for found in jobs:
        found.wait()
    late = [batcher.submit(job(value)) for value in range(3)]
    time.sleep(0.05)
    late.append(batcher.submit(job(3)))
    for found in late:
        found.wait()
    assert gate.sizes == [1, 2, 4]
