"""Requests that wait together run together: a bounded queue, counted in images, and the one thread that runs the model.

A request is dropped before it costs a forward pass when its client has gone or its deadline is over. The thread waits
for company only when the last batch had some: a lone client gets its answer at once.
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from ..http.errors import ServingError

__all__ = ["Batcher", "Job", "Predict"]

Predict = Callable[[torch.Tensor], torch.Tensor]
"""Logits, float32 [N, classes], of images, uint8 or float32 [N, 3, side, side]."""

log = logging.getLogger(__name__)


def never() -> bool:
    """Say that a client is there."""
    return False


@dataclass(eq=False)
class Job:
    """One request's images on their way.

    Attributes:
        images: uint8 or float32 [N, 3, side, side].
        deadline: On the clock of time.monotonic.
        gone: Says whether the client has gone.
        logits: float32 [N, classes], when it is done and nothing went wrong.
        error: What went wrong.
    """

    images: torch.Tensor
    deadline: float
    gone: Callable[[], bool] = never
    arrived: float = field(default_factory=time.monotonic)
    logits: torch.Tensor | None = None
    error: ServingError | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def finish(self, logits: torch.Tensor | None = None, error: ServingError | None = None) -> None:
        """Hand over the outcome."""
        self.logits, self.error = logits, error
        self.done.set()

    def wait(self) -> torch.Tensor:
        """Return the logits.

        Raises:
            ServingError: It was dropped, the deadline passed, or the model failed.
        """
        if not self.done.wait(max(0.0, self.deadline - time.monotonic())):
            raise ServingError(504, "the deadline passed before the images had their turn")
        if self.error:
            raise self.error
        assert self.logits is not None
        return self.logits


class Batcher:
    """The queue and its thread.

    Attributes:
        waiting: Images in the queue.
        running: Images in the forward pass at the moment.
    """

    def __init__(
        self,
        *,
        max_batch: int,
        max_wait: float,
        max_queue: int,
        observe: Callable[[int], object] = lambda _images: None,
    ) -> None:
        """Set up; `start` starts the thread.

        Args:
            max_batch: The most images of one forward pass.
            max_wait: Seconds a request waits for company at most.
            max_queue: The most images that wait.
            observe: Told the number of images of each forward pass.
        """
        self.max_batch, self.max_wait, self.max_queue = max_batch, max_wait, max_queue
        self.waiting = self.running = 0
        self._observe = observe
        self._queue: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._company = False
        self._seconds_per_image = 0.02  # until it is known
        self._thread: threading.Thread | None = None

    def start(self, prepare: Callable[[], Predict], failed: Callable[[BaseException], object]) -> None:
        """Start the thread, which calls `prepare` and then runs what that returns; `failed` is told if it cannot."""

        def body() -> None:
            try:
                predict = prepare()
            except Exception as error:  # noqa: BLE001 - whatever it is, the starter of the server is the one to see it
                failed(error)
                return
            with torch.inference_mode():  # it is a thread's own
                self._run(predict)

        self._thread = threading.Thread(target=body, name="inference", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> Job:
        """Take a job in.

        Raises:
            ServingError: 429, the queue is full; 503, it is closed.
        """
        count = len(job.images)
        with self._changed:
            if self._closed:
                raise ServingError(503, "the server is draining: no new requests", 1)
            self.expect_room(count)
            self._queue.append(job)
            self.waiting += count
            self._changed.notify_all()
        return job

    def expect_room(self, count: int = 1) -> None:
        """Refuse what would be refused: a look before a body is decoded, without the lock; `submit` has the last word.

        Raises:
            ServingError: 429, the queue is full.
        """
        waiting = self.waiting
        if waiting + count > self.max_queue:
            seconds = (waiting + self.running) * self._seconds_per_image
            raise ServingError(429, f"{waiting} images are waiting, which is all that may", max(1.0, seconds))

    @property
    def idle(self) -> bool:
        """Say whether nothing waits and nothing runs."""
        with self._changed:
            return not (self._queue or self.running)

    def close(self) -> None:
        """Take nothing in any more; what is in is still answered."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def join(self, timeout: float | None = None) -> None:
        """Wait until a closed one has answered everything."""
        if self._thread:
            self._thread.join(timeout)

    def _run(self, predict: Predict) -> None:
        while jobs := self._take():
            images = torch.cat([job.images for job in jobs])
            self._observe(len(images))
            start = time.monotonic()
            try:
                logits = predict(images)
            except Exception:
                log.exception("the model failed on %d images", len(images))
                for job in jobs:
                    job.finish(error=ServingError(500, "the model failed"))
            else:
                parts = torch.split(logits, [len(job.images) for job in jobs])
                for job, part in zip(jobs, parts, strict=True):
                    job.finish(part)
            self._seconds_per_image += 0.2 * ((time.monotonic() - start) / len(images) - self._seconds_per_image)
            self._company = len(jobs) > 1
            with self._changed:
                self.running = 0

    def _take(self) -> list[Job]:
        """Return the jobs of the next forward pass; none when it is closed and empty."""
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                if not self._queue:
                    return []
                if self._company:
                    self._wait_for_company()
                jobs: list[Job] = []
                while self._queue and self._fits(self._queue[0], jobs):
                    job = self._queue.popleft()
                    self.waiting -= len(job.images)
                    if not dropped(job):
                        jobs.append(job)
                        self.running += len(job.images)
                if jobs:
                    return jobs

    def _fits(self, job: Job, jobs: list[Job]) -> bool:
        """Say whether a job can join a batch: images that are normalised in other ways cannot."""
        alike = not jobs or jobs[0].images.dtype == job.images.dtype
        return alike and self.running + len(job.images) <= self.max_batch

    def _wait_for_company(self) -> None:
        until = self._queue[0].arrived + self.max_wait
        while self.waiting < self.max_batch and not self._closed and (left := until - time.monotonic()) > 0:
            self._changed.wait(left)


def dropped(job: Job) -> bool:
    """Finish a job that nobody waits for any more, and say so."""
    if time.monotonic() >= job.deadline:
        job.finish(error=ServingError(504, "the deadline passed before the images had their turn"))
    else:
        with contextlib.suppress(OSError):  # a socket that is closed: then it has gone as well
            if not job.gone():
                return False
        job.finish(error=ServingError(499, "the client has gone"))
    return True
