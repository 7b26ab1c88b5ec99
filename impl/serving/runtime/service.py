"""What stands between a request and the model: readiness, deadlines, remembered answers, the queue."""

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

import torch
from werkzeug import Request

from ..config import ServingConfig
from ..http.errors import ServingError
from ..http.inputs import ACCEPTED, Decoder
from ..model.cores import keep_memory, use_cores
from ..model.precision import Prepared, prepare
from .answer_cache import Remembered
from .batching import Batcher, Job, never
from .metrics import Metrics

__all__ = ["Service"]

DECODING = 2
"""Threads that decode bodies, for all those that answer requests: 200 of these, with images in whatever arena of the
allocator each had, made memory grow by 200 MiB in 16 s of overload (AMD EPYC (Zen 5), 2 cores, 2026-11-23)."""

Decoded = TypeVar("Decoded")


class Service:
    """One model behind a queue.

    Attributes:
        config: What it was told.
        metrics: What it counts.
        batcher: Its queue.
        failure: Why the model could not be loaded, if it could not.
    """

    def __init__(self, config: ServingConfig) -> None:
        """Begin to load the model, in the thread that will run it; `loaded` waits for that."""
        keep_memory()
        self.config = config
        self.batcher = Batcher(
            max_batch=config.max_batch,
            max_wait=config.max_wait_ms / 1e3,
            max_queue=config.max_queue,
            observe=lambda images: self.metrics.batches.observe(images),  # noqa: PLW0108 - they come below
        )
        self.metrics = Metrics(lambda: self.batcher.waiting)
        self.failure: BaseException | None = None
        self.draining = False
        self._decoding = ThreadPoolExecutor(DECODING, "decoding", use_cores, (1,))
        self._prepared: Prepared | None = None
        self._settled = threading.Event()
        cores = torch.get_num_threads()

        def load() -> Callable[[torch.Tensor], torch.Tensor]:
            use_cores(cores)
            found = prepare(config)
            size = (1, 3, found.side, found.side)
            with torch.inference_mode():
                found.run(torch.zeros(size, dtype=torch.uint8))
            self.remembered = Remembered(round(config.cache_mb * 2**20), found.key)
            self.decoder = Decoder(found.side, config.max_batch, config.max_pixels)
            self._prepared = found
            self._settled.set()
            use_cores(1)  # the model knows its cores
            return found.run

        def failed(error: BaseException) -> None:
            self.failure = error
            self._settled.set()

        self.batcher.start(load, failed)

    @property
    def ready(self) -> bool:
        """Say whether requests are answered."""
        return self._prepared is not None and not self.draining

    def loaded(self, timeout: float | None = None) -> Prepared:
        """Wait until the model is loaded, and return it.

        Raises:
            TimeoutError: It was not in time.
            BaseException: Whatever loading it ended in.
        """
        if not self._settled.wait(timeout):
            raise TimeoutError(f"the model was not loaded within {timeout} s")
        if self.failure:
            raise self.failure
        return self.prepared

    @property
    def prepared(self) -> Prepared:
        """Return the model.

        Raises:
            ServingError: 503, it is not there yet.
        """
        if self._prepared is None:
            raise ServingError(503, "the model could not be loaded" if self.failure else "the model is loading", 1)
        return self._prepared

    def admit(self, request: Request) -> float:
        """Return the deadline of a request, on the clock of time.monotonic.

        Raises:
            ServingError: 503, not ready or draining; 429, the queue is full, which is said before anything is decoded;
                400, it asks for a timeout that is no number.
        """
        arrived = time.monotonic()
        if self.draining:
            raise ServingError(503, "the server is draining: no new requests", 1)
        assert self.prepared
        if not self.remembered.limit:  # or an answer may be remembered, and need no place in the queue
            self.batcher.expect_room()
        asked = request.args.get("timeout_ms")
        timeout = self.config.timeout_ms
        if asked is not None:
            try:
                timeout = min(float(asked), timeout)  # in this order what is not a number stays that
            except ValueError:
                timeout = math.nan
            if not timeout > 0:
                raise ServingError(400, f"timeout_ms must be a number of milliseconds above 0, not {asked[:40]!r}")
        return arrived + timeout / 1e3

    def decoded(self, decode: Callable[..., Decoded], *arguments: Any) -> Decoded:
        """Return `decode(*arguments)`, called in one of the few threads that decode, in the context of the request."""
        return self._decoding.submit(copy_context().run, decode, *arguments).result()

    def logits(self, images: torch.Tensor, request: Request, deadline: float) -> tuple[torch.Tensor, bool]:
        """Return the logits, float32 [N, classes], of images, and whether all of them were remembered.

        Raises:
            ServingError: 429, 499, 503 or 504.
        """
        gone: Callable[[], bool] = request.environ.get("waitress.client_disconnected", never)
        if not self.remembered.limit:
            found = self.batcher.submit(Job(images, deadline, gone)).wait()
            self.metrics.images.labels("model").inc(len(images))
            return found, False
        keys = [self.remembered.key(image) for image in images]
        known = [self.remembered.get(key) for key in keys]
        missing = [place for place, logits in enumerate(known) if logits is None]
        if missing:
            found = self.batcher.submit(Job(images[missing], deadline, gone)).wait()
            for place, logits in zip(missing, found, strict=True):
                known[place] = logits
                self.remembered.put(keys[place], logits)
        self.metrics.images.labels("model").inc(len(missing))
        self.metrics.images.labels("memory").inc(len(images) - len(missing))
        return torch.stack([logits for logits in known if logits is not None]), not missing

    def describe(self) -> dict[str, Any]:
        """Return what `/ready` says."""
        found = self.prepared
        return {
            "ready": self.ready,
            "model": self.config.model,
            "precision": found.precision,
            "agreement": found.agreement,
            "classes": len(found.labels),
            "image": [found.side, found.side],
            "accepts": list(ACCEPTED),
            "max_batch": self.config.max_batch,
        }

    def drain(self) -> None:
        """Take nothing in any more; what is in is still answered."""
        self.draining = True
        self.batcher.close()

    def close(self) -> None:
        """Drain, and wait until everything is answered."""
        self.drain()
        self.batcher.join()
        self._decoding.shutdown()
