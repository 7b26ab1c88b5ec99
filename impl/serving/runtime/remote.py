"""Ray's queue in front of the replicas of a model: what a `Service` has there in place of a `Batcher`."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from ..config import ServingConfig
from ..model.snapshot import Prepared
from .batching import Job, Predict
from .refusals import DeadlinePassedError, DrainingError, ModelFailedError, QueueFullError

__all__ = ["RemoteJob", "RemoteQueue", "described"]

log = logging.getLogger(__name__)


class RemoteJob(Job):
    """A job that waits in Ray, or runs in a replica of `Model`."""

    response: Any
    """Ray's DeploymentResponse."""
    left: Callable[[], object]
    """Called once the job no longer waits or runs."""

    def wait(self) -> torch.Tensor:
        """Return the logits.

        Raises:
            Refusal: Ray's queue is full, the deadline passed, or the model or its replica failed.
        """
        try:
            return self._result()
        finally:
            self.left()

    def _result(self) -> torch.Tensor:
        from ray.exceptions import RayError  # noqa: PLC0415 - an optional extra
        from ray.serve.exceptions import BackPressureError, RayServeException  # noqa: PLC0415 - likewise

        try:
            logits = self.response.result(timeout_s=max(0.0, self.deadline - time.monotonic()))
        except TimeoutError:
            self.response.cancel()
            raise DeadlinePassedError from None
        except BackPressureError as error:
            raise QueueFullError(error.args[0], 1.0, "requests") from None
        except (RayError, RayServeException) as error:
            log.exception("the model failed on %d images", len(self.images))
            raise ModelFailedError from error
        if logits is None:
            raise DeadlinePassedError("the deadline passed before the images had their turn")
        return torch.from_numpy(logits.copy())  # Ray's memory is read-only


class RemoteQueue:
    """Ray's queue in front of the replicas of `Model`, as a `Service` asks for it.

    Attributes:
        waiting: Images that wait or run, of this process's clients.
    """

    def __init__(self, handle: Any, **_settings: object) -> None:
        """Take the handle of `Model`; the settings are the deployment's."""
        self._handle = handle
        self._closed = False
        self._thread: threading.Thread | None = None
        self._counting = threading.Lock()
        self.waiting = 0

    def start(self, prepare: Callable[[], Predict], failed: Callable[[BaseException], object]) -> None:
        """Wait for the model, in a thread; `failed` is called with the exception if it cannot be loaded."""

        def body() -> None:
            try:
                prepare()
            except BaseException as error:  # noqa: BLE001 - every failure is reported to the one who started the server
                failed(error)

        self._thread = threading.Thread(target=body, name="loading", daemon=True)
        self._thread.start()

    def expect_room(self, count: int = 1) -> None:
        """Admit everything: Ray refuses a request when it is submitted."""

    def submit(self, job: Job) -> RemoteJob:
        """Send a job to Ray.

        Raises:
            DrainingError: The queue is closed.
        """
        if self._closed:
            raise DrainingError
        remote = RemoteJob(job.images, job.deadline, job.gone)
        remote.response = self._handle.logits.remote(job.images.numpy(), max(0.0, job.deadline - time.monotonic()))
        remote.left = lambda: self._count(-len(job.images))
        self._count(len(job.images))
        return remote

    def _count(self, images: int) -> None:
        with self._counting:
            self.waiting += images

    @property
    def idle(self) -> bool:
        """Whether no image waits or runs."""
        return self.waiting == 0

    @property
    def alive(self) -> bool:
        """Whether the model is still being waited for."""
        return self._thread is not None and self._thread.is_alive()

    def close(self) -> None:
        """Accept no more jobs."""
        self._closed = True

    def join(self, timeout: float | None = None) -> None:
        """Wait until the model is loaded."""
        if self._thread:
            self._thread.join(timeout)


def described(handle: Any, _config: ServingConfig) -> Prepared:
    """Return the model of `Model`'s replicas, once one has loaded it; its `run` asks one of them."""

    def run(images: torch.Tensor) -> torch.Tensor:
        logits: Any = handle.logits.remote(images.numpy(), 600.0).result()
        return torch.from_numpy(logits.copy())

    found: Prepared = handle.describe.remote().result()
    return replace(found, run=run)
