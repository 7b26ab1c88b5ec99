"""Dynamic batching: a bounded queue, counted in images, and the one thread that runs the model.

Requests that wait together run together. A request whose client has gone or whose deadline has passed is dropped before
it costs a forward pass. The thread waits to fill the batch only when the last batch held several requests: a lone
client gets its answer at once.
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch

from .refusals import (
    ClientGoneError,
    DeadlinePassedError,
    DrainingError,
    ModelFailedError,
    QueueFullError,
    Refusal,
)

__all__ = ["Batcher", "Job", "Predict", "Queue", "never"]

Predict = Callable[[torch.Tensor], torch.Tensor]
"""Logits, float32 [N, classes], of images, uint8 or float32 [N, 3, side, side]."""
Observe = Callable[[int, Sequence[float], float], object]

SECONDS_PER_IMAGE = 0.02  # assumed before the first forward pass
SMOOTHING = 0.2  # weight of the last forward pass in the moving average of seconds per image

log = logging.getLogger(__name__)


def never() -> bool:
    """Return False: the client has not gone."""
    return False


@dataclass(eq=False)
class Job:
    """The images of one request.

    Attributes:
        images: uint8 or float32 [N, 3, side, side].
        deadline: On the clock of time.monotonic.
        gone: Returns whether the client has closed its connection.
        arrived: On the clock of time.monotonic.
        logits: float32 [N, classes], once the model has run.
        refusal: Why there are no logits.
        done: Set once there are logits or a refusal.
    """

    images: torch.Tensor
    deadline: float
    gone: Callable[[], bool] = never
    arrived: float = field(default_factory=time.monotonic)
    logits: torch.Tensor | None = None
    refusal: Refusal | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def finish(self, logits: torch.Tensor | None = None, refusal: Refusal | None = None) -> None:
        """Set the outcome, one of the two."""
        self.logits, self.refusal = logits, refusal
        self.done.set()

    def wait(self) -> torch.Tensor:
        """Return the logits.

        Raises:
            Refusal: It was dropped, the deadline passed, or the model failed.
        """
        if not self.done.wait(max(0.0, self.deadline - time.monotonic())):
            raise DeadlinePassedError
        if self.logits is None:
            raise self.refusal or ModelFailedError
        return self.logits


class Queue(Protocol):
    """What a service needs of the queue in front of its model. `Batcher` says what each method raises."""

    @property
    def waiting(self) -> int:
        """Images in the queue."""

    @property
    def idle(self) -> bool:
        """Whether no image waits or runs."""

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""

    def start(self, prepare: Callable[[], Predict], failed: Callable[[BaseException], object]) -> None:
        """Start the thread that calls `prepare`; it calls `failed` with the exception that ends it."""

    def expect_room(self, count: int = 1) -> None:
        """Refuse a request early, if that is possible."""

    def submit(self, job: Job) -> Job:
        """Queue a job, and return the one to wait for."""

    def close(self) -> None:
        """Accept no more jobs."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for the thread to end."""


class Batcher:
    """The queue and its thread.

    Attributes:
        max_batch, max_wait, max_queue: As given to the constructor.
        waiting: Images in the queue.
        running: Images in the current forward pass.
    """

    def __init__(
        self,
        *,
        max_batch: int,
        max_wait: float,
        max_queue: int,
        observe: Observe = lambda _images, _waited, _seconds: None,
    ) -> None:
        """Create an empty queue; `start` starts the thread.

        Args:
            max_batch: The most images in one forward pass.
            max_wait: The most seconds a request waits to fill the batch.
            max_queue: The most images that wait.
            observe: Called after each forward pass with its images, the seconds that each of its requests has waited
                for it, and its own seconds.
        """
        self.max_batch, self.max_wait, self.max_queue = max_batch, max_wait, max_queue
        self.waiting = self.running = 0
        self._observe = observe
        self._queue: deque[Job] = deque()
        self._taken: list[Job] = []
        self._changed = threading.Condition()
        self._closed = False
        self._last_was_shared = False
        self._seconds_per_image = SECONDS_PER_IMAGE
        self._thread: threading.Thread | None = None

    def start(self, prepare: Callable[[], Predict], failed: Callable[[BaseException], object]) -> None:
        """Start the thread. It calls `prepare`, then runs the function that it returned.

        `failed` is called with the exception if `prepare` raises one, or if the thread ends with one later. Every job
        is answered all the same.
        """

        def body() -> None:
            try:
                predict = prepare()
                with torch.inference_mode():  # thread-local
                    self._run(predict)
            except BaseException as error:  # noqa: BLE001 - every failure is reported to the one who started the server
                failed(error)
                self._abandon()

        self._thread = threading.Thread(target=body, name="inference", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> Job:
        """Put a job into the queue and return it.

        Raises:
            QueueFullError: There is no room.
            DrainingError: The queue is closed.
        """
        count = len(job.images)
        with self._changed:
            if self._closed:
                raise DrainingError
            self.expect_room(count)
            self._queue.append(job)
            self.waiting += count
            self._changed.notify_all()
        return job

    def expect_room(self, count: int = 1) -> None:
        """Check for room without the lock, so that a request can be refused before its body is decoded.

        `submit` checks again.

        Raises:
            QueueFullError: There is no room.
        """
        waiting = self.waiting
        if waiting + count > self.max_queue:
            seconds = (waiting + self.running) * self._seconds_per_image
            raise QueueFullError(waiting, max(1.0, seconds))

    @property
    def idle(self) -> bool:
        """Whether no image waits or runs."""
        with self._changed:
            return not (self._queue or self.running)

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def close(self) -> None:
        """Accept no more jobs; those in the queue are still answered."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def join(self, timeout: float | None = None) -> None:
        """Wait until a closed queue has answered every job."""
        if self._thread:
            self._thread.join(timeout)

    def _run(self, predict: Predict) -> None:
        while jobs := self._take():
            try:
                self._answer(jobs, predict)
            except Exception:
                log.exception("the model failed on %d images", self.running)
                _refuse(jobs)
            self._last_was_shared = len(jobs) > 1
            with self._changed:
                self.running = 0

    def _answer(self, jobs: list[Job], predict: Predict) -> None:
        images = torch.cat([job.images for job in jobs])
        start = time.monotonic()
        parts = torch.split(predict(images), [len(job.images) for job in jobs])
        seconds = time.monotonic() - start
        self._observe(len(images), [start - job.arrived for job in jobs], seconds)
        for job, part in zip(jobs, parts, strict=True):
            job.finish(part)
        self._seconds_per_image += SMOOTHING * (seconds / len(images) - self._seconds_per_image)

    def _abandon(self) -> None:
        """Close the queue and answer every job, because the thread ends."""
        with self._changed:
            self._closed = True
            jobs = [*self._taken, *self._queue]
            self._queue.clear()
            self.waiting = self.running = 0
        _refuse(jobs)

    def _take(self) -> list[Job]:
        """Return the jobs of the next forward pass; none once the queue is closed and empty."""
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                if not self._queue:
                    return []
                if self._last_was_shared:
                    self._wait_to_fill()
                jobs = self._taken = []
                while self._queue and self._fits(self._queue[0], jobs):
                    jobs.append(self._queue.popleft())
                    self.waiting -= len(jobs[-1].images)
                    if dropped(jobs[-1]):
                        jobs.pop()
                    else:
                        self.running += len(jobs[-1].images)
                if jobs:
                    return jobs

    def _fits(self, job: Job, jobs: list[Job]) -> bool:
        """Return whether a job can join a batch. uint8 and float32 images are normalised differently and cannot mix."""
        same_dtype = not jobs or jobs[0].images.dtype == job.images.dtype
        return same_dtype and self.running + len(job.images) <= self.max_batch

    def _wait_to_fill(self) -> None:
        until = self._queue[0].arrived + self.max_wait
        while self.waiting < self.max_batch and not self._closed and (left := until - time.monotonic()) > 0:
            self._changed.wait(left)


def _refuse(jobs: list[Job]) -> None:
    """Answer the jobs that have no answer yet."""
    for job in jobs:
        if not job.done.is_set():
            job.finish(refusal=ModelFailedError())


def dropped(job: Job) -> bool:
    """Finish a job whose deadline has passed or whose client has gone; return whether it was one."""
    if time.monotonic() >= job.deadline:
        job.finish(refusal=DeadlinePassedError("the deadline passed before the images had their turn"))
        return True
    with contextlib.suppress(OSError):  # a closed socket raises: that client has gone as well
        if not job.gone():
            return False
    job.finish(refusal=ClientGoneError())
    return True
