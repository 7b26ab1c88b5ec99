"""One model behind a queue: readiness, admission, deadlines, the answer cache."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

import torch

from ..config import ServingConfig
from ..model.cores import keep_memory, use_cores
from ..model.precision import prepare
from ..model.snapshot import Prepared
from .answer_cache import AnswerCache
from .batching import Batcher, Job, Predict, never
from .metrics import Metrics
from .refusals import DrainingError, LoadFailedError, LoadingError

__all__ = ["Service"]

DECODING_THREADS = 2
"""Bodies are decoded in two threads, whatever the number of request threads. With 200 request threads decoding, images
lay in as many arenas of the allocator, and memory grew by 200 MiB in 16 s of overload (AMD EPYC (Zen 5), 2 cores,
2026-11-23)."""

Decoded = TypeVar("Decoded")


class Service:
    """One model behind a queue.

    Attributes:
        config: The configuration it was built with.
        metrics: Its counters and histograms.
        batcher: Its queue.
        answer_cache: Logits of images that it has seen; holds nothing unless `config.cache_mb` is above 0.
        failure: The exception that loading the model ended in, if it failed.
        draining: Whether it accepts no more requests.
    """

    def __init__(self, config: ServingConfig) -> None:
        """Begin to load the model, in the thread that will run it; `loaded` waits for that."""
        keep_memory()
        self.config = config
        self.metrics = Metrics(lambda: self.batcher.waiting)
        self.batcher = Batcher(
            max_batch=config.max_batch,
            max_wait=config.max_wait_ms / 1e3,
            max_queue=config.max_queue,
            observe=self.metrics.batches.observe,
        )
        self.answer_cache = AnswerCache(0, "")  # until the model is loaded
        self.failure: BaseException | None = None
        self.draining = False
        self._decoding = ThreadPoolExecutor(DECODING_THREADS, "decoding", use_cores, (1,))
        self._prepared: Prepared | None = None
        self._settled = threading.Event()
        self._cores = torch.get_num_threads()
        self.batcher.start(self._load, self._load_failed)

    def _load(self) -> Predict:
        use_cores(self._cores)
        prepared = prepare(self.config)
        size = (1, 3, prepared.side, prepared.side)
        with torch.inference_mode():
            logits = prepared.run(torch.zeros(size, dtype=torch.uint8))
        if not bool(torch.isfinite(logits).all()):
            raise ValueError(f"{self.config.model} has no finite answer for a black image: its weights are not usable")
        self.answer_cache = AnswerCache(round(self.config.cache_mb * 2**20), prepared.key)
        self._prepared = prepared
        self._settled.set()
        use_cores(1)  # the engine has threads of its own
        return prepared.run

    def _load_failed(self, error: BaseException) -> None:
        self.failure = error
        self._settled.set()

    @property
    def ready(self) -> bool:
        """Whether requests are answered."""
        return self._prepared is not None and not self.draining

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
            LoadingError, LoadFailedError, DrainingError: The service is not ready.
            QueueFullError: The queue is full, and no answer cache could answer instead.
        """
        if self.draining:
            raise DrainingError
        if self._prepared is None:
            raise LoadFailedError if self.failure else LoadingError
        if not self.answer_cache.limit:
            self.batcher.expect_room()

    def decoded(self, decode: Callable[..., Decoded], *arguments: Any) -> Decoded:
        """Return `decode(*arguments)`, called in a decoding thread in the context of the request."""
        return self._decoding.submit(copy_context().run, decode, *arguments).result()

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
            self.metrics.images.labels("model").inc(len(images))
            return logits, False
        keys = [self.answer_cache.key(image) for image in images]
        rows = [self.answer_cache.get(key) for key in keys]
        unseen = [place for place, row in enumerate(rows) if row is None]
        if unseen:
            logits = self.batcher.submit(Job(images[unseen], deadline, gone)).wait()
            for place, row in zip(unseen, logits, strict=True):
                rows[place] = row
                self.answer_cache.put(keys[place], row)
        self.metrics.images.labels("model").inc(len(unseen))
        self.metrics.images.labels("memory").inc(len(images) - len(unseen))
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
        """Accept no more requests; those accepted are still answered."""
        self.draining = True
        self.batcher.close()

    def close(self) -> None:
        """Drain, and wait until every request is answered."""
        self.drain()
        self.batcher.join()
        self._decoding.shutdown()
