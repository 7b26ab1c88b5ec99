"""One model behind a queue: readiness, admission, deadlines, the answer cache."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any, TypeVar

import torch

from ..config import ServingConfig
from ..model.cores import keep_memory, use_cores
from ..model.precision import prepare
from ..model.snapshot import Prepared
from .answer_cache import AnswerCache
from .batching import Batcher, Job, Predict, Queue, never
from .memory import LARGEST_SHARE, MemoryGuard, limit_of_the_container
from .metrics import Metrics
from .refusals import (
    DeadlinePassedError,
    DrainingError,
    LoadFailedError,
    LoadingError,
    MemoryLowError,
    ModelLostError,
    QueueFullError,
)

__all__ = ["Service"]

DECODING_THREADS = 2
"""Bodies are decoded in two threads, whatever the number of request threads. With 200 request threads decoding, images
lay in as many arenas of the allocator, and memory grew by 200 MiB in 16 s of overload (AMD EPYC (Zen 5), 2 cores,
2026-11-23)."""

Decoded = TypeVar("Decoded")

log = logging.getLogger(__name__)


class Service:
    """One model behind a queue.

    Attributes:
        config: The configuration it was built with.
        metrics: Its counters and histograms.
        batcher: Its queue.
        answer_cache: Logits of images that it has seen; holds nothing unless `config.cache_mb` is above 0.
        failure: The exception that loading the model ended in, or the thread that runs it, if one did.
        memory: Its limit of memory, and what it uses.
        draining: Whether it accepts no more requests.
    """

    def __init__(
        self,
        config: ServingConfig,
        load: Callable[[ServingConfig], Prepared] | None = None,
        queue: Callable[..., Queue] = Batcher,
    ) -> None:
        """Begin to load the model, in the thread that will run it; `loaded` waits for that.

        Args:
            config: The configuration.
            load: Returns the model of a configuration; by default `prepare`.
            queue: Makes the queue in front of it.
        """
        keep_memory()
        self.config = config
        self.metrics = Metrics(lambda: self.batcher.waiting)
        self._load_model = load or prepare
        self.batcher = queue(
            max_batch=config.max_batch,
            max_wait=config.max_wait_ms / 1e3,
            max_queue=config.max_queue,
            observe=self.metrics.ran,
        )
        self.answer_cache = AnswerCache(0, "")  # until the model is loaded
        self.failure: BaseException | None = None
        self.memory = MemoryGuard(round(config.memory_mb * 2**20) or limit_of_the_container())
        self.draining = False
        self._decoding = ThreadPoolExecutor(DECODING_THREADS, "decoding", use_cores, (1,))
        self._bodies, self._counting = 0, threading.Lock()  # that are decoded or wait for it
        self._prepared: Prepared | None = None
        self._settled = threading.Event()
        self._cores = torch.get_num_threads()
        self.batcher.start(self._load, self._failed)

    def _load(self) -> Predict:
        use_cores(self._cores)
        prepared = self._load_model(self.config)
        size = (1, 3, prepared.side, prepared.side)
        with torch.inference_mode():
            logits = prepared.run(torch.zeros(size, dtype=torch.uint8))
        if not bool(torch.isfinite(logits).all()):
            raise ValueError(f"{self.config.model} has no finite answer for a black image: its weights are not usable")
        if self.memory.low:
            most, used = ((self.memory.limit or 0) / 2**20, self.memory.used / 2**20)
            raise MemoryError(
                f"{self.config.model} takes {used:.0f} MiB, and the limit is {most:.0f}: at least "
                f"{used / LARGEST_SHARE + 100:.0f} are needed"
            )
        self.answer_cache = AnswerCache(round(self.config.cache_mb * 2**20), prepared.key)
        self._prepared = prepared
        self._settled.set()
        use_cores(1)  # the engine has threads of its own
        return prepared.run

    def _failed(self, error: BaseException) -> None:
        if self._prepared is not None:
            log.critical("the model's thread has ended: start the server again", exc_info=error)
        self.failure = error
        self._settled.set()

    @property
    def most_requests(self) -> int:
        """The most requests that are decoded, wait or run at once."""
        return 2 * self.config.max_queue + self.config.max_batch

    @property
    def ready(self) -> bool:
        """Whether requests are answered."""
        ready = self._prepared is not None and not self.draining and self.failure is None
        return ready and not self.memory.low

    def expect_ready(self) -> None:
        """Refuse what cannot be answered.

        Raises:
            LoadingError, LoadFailedError, ModelLostError, MemoryLowError, DrainingError: The service is not ready.
        """
        if self.draining:
            raise DrainingError
        if self.failure:
            raise LoadFailedError if self._prepared is None else ModelLostError
        if self._prepared is None:
            raise LoadingError
        if self.memory.low:
            raise MemoryLowError

    def loaded(self, timeout: float | None = None) -> Prepared:
        """Wait until the model is loaded, and return it.

        Raises:
            TimeoutError: It was not loaded in time.
            BaseException: The exception that loading it ended in.
        """
        if not self._settled.wait(timeout):
            raise TimeoutError(f"the model was not loaded within {timeout} s")
        if self.failure:
            raise self.failure
        return self.prepared

    @property
    def prepared(self) -> Prepared:
        """The model.

        Raises:
            LoadingError: It is not loaded yet.
            LoadFailedError: It could not be loaded.
        """
        if self._prepared is None:
            raise LoadFailedError if self.failure else LoadingError
        return self._prepared

    def admit(self) -> None:
        """Refuse a request that cannot be answered, before its body is decoded.

        Raises:
            LoadingError, LoadFailedError, ModelLostError, MemoryLowError, DrainingError: The service is not ready.
            QueueFullError: The queue is full, and no answer cache could answer instead.
        """
        self.expect_ready()
        if not self.answer_cache.limit:
            self.batcher.expect_room()

    def decoded(self, deadline: float, decode: Callable[..., Decoded], *arguments: Any) -> Decoded:
        """Return `decode(*arguments)`, called in a decoding thread in the context of the request.

        Args:
            deadline: On the clock of time.monotonic. What outlives it is not waited for.
            decode: What to call.
            *arguments: With what.

        Raises:
            QueueFullError: As many bodies are decoded, or wait for it, as images may wait.
            DeadlinePassedError: The deadline passed first.
        """
        with self._counting:
            if self._bodies >= self.config.max_queue:
                raise QueueFullError(self._bodies, 1.0, "bodies")
            self._bodies += 1
        work = self._decoding.submit(copy_context().run, decode, *arguments)
        work.add_done_callback(self._count_decoded)
        if not wait((work,), max(0.0, deadline - time.monotonic())).done:
            work.cancel()
            raise DeadlinePassedError("the deadline passed before the body was decoded")
        return work.result()

    def _count_decoded(self, _work: object) -> None:
        with self._counting:
            self._bodies -= 1

    def logits(
        self, images: torch.Tensor, deadline: float, gone: Callable[[], bool] = never
    ) -> tuple[torch.Tensor, bool]:
        """Return the logits of images, and whether all of them were in the answer cache.

        Args:
            images: uint8 or float32 [N, 3, side, side].
            deadline: On the clock of time.monotonic.
            gone: Returns whether the client has closed its connection.

        Returns:
            float32 [N, classes], and whether the model did not have to run.

        Raises:
            Refusal: QueueFullError, DrainingError, DeadlinePassedError, ClientGoneError or ModelFailedError.
        """
        if not self.answer_cache.limit:
            logits = self.batcher.submit(Job(images, deadline, gone)).wait()
            self.metrics.predicted(model=len(images))
            return logits, False
        keys = [self.answer_cache.key(image) for image in images]
        rows = [self.answer_cache.get(key) for key in keys]
        unseen = [place for place, row in enumerate(rows) if row is None]
        if unseen:
            logits = self.batcher.submit(Job(images[unseen], deadline, gone)).wait()
            for place, row in zip(unseen, logits, strict=True):
                rows[place] = row
                self.answer_cache.put(keys[place], row)
        self.metrics.predicted(model=len(unseen), memory=len(images) - len(unseen))
        return torch.stack([row for row in rows if row is not None]), not unseen

    def describe(self) -> dict[str, Any]:
        """Return what a client may know of the model and the limits.

        Raises:
            LoadingError, LoadFailedError: There is no model.
        """
        prepared = self.prepared
        return {
            "ready": self.ready,
            "model": self.config.model,
            "precision": prepared.precision,
            "agreement": prepared.agreement,
            "classes": len(prepared.labels),
            "image": [prepared.side, prepared.side],
            "max_batch": self.config.max_batch,
        }

    def drain(self) -> None:
        """Admit no more requests; those admitted are still answered."""
        self.draining = True

    @property
    def idle(self) -> bool:
        """Whether no request is decoded, waits or runs."""
        return self.batcher.idle and not self._bodies

    @property
    def working(self) -> bool:
        """Whether a thread still loads, decodes or runs something."""
        return self.batcher.alive or self._bodies > 0

    def close(self, timeout: float | None = None) -> None:
        """Drain, and wait until every request in the queue is answered, at most `timeout` seconds."""
        self.drain()
        self.batcher.close()
        self.batcher.join(timeout)
        self._decoding.shutdown(wait=timeout is None, cancel_futures=True)
