"""The model in a process of Ray's, which runs requests together that wait together."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...shared.on_ray import ray_serve
from ..config import ServingConfig
from ..model.cores import keep_memory, use_cores
from ..model.precision import prepare
from ..model.snapshot import Prepared

__all__ = ["Model", "Request"]

Images = NDArray[np.uint8] | NDArray[np.float32]


@dataclass(frozen=True)
class Request:
    """The images of one request in a replica of `Model`.

    Attributes:
        images: uint8 or float32 [N, 3, side, side].
        deadline: On this process's clock of time.monotonic.
    """

    images: Images
    deadline: float


def count_images(requests: Sequence[Request]) -> int:
    """Return how many images these requests have: what `--max-batch` limits."""
    return sum(len(request.images) for request in requests)


class Model:
    """The deployment that runs the model."""

    def __init__(self, config: ServingConfig, cores: int) -> None:
        """Load the model, for so many cores."""
        keep_memory()
        self._cores = cores
        self._thread = ThreadPoolExecutor(1, "inference")
        self._prepared = self._thread.submit(self._load, config).result()

        async def run_together(requests: list[Request]) -> list[NDArray[np.float32] | None]:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self.run, requests)

        batched = ray_serve().batch(
            max_batch_size=config.max_batch,
            batch_wait_timeout_s=config.max_wait_ms / 1e3,
            batch_size_fn=count_images,
        )
        self._run_together: Any = batched(run_together)

    def _load(self, config: ServingConfig) -> Prepared:
        use_cores(self._cores)
        prepared = prepare(config)
        use_cores(1)  # the engine has threads of its own
        return prepared

    def describe(self) -> Prepared:
        """Return the model without what runs it, which stays in this process."""
        return replace(self._prepared, run=_elsewhere)

    async def logits(self, images: Images, seconds: float) -> NDArray[np.float32] | None:
        """Return the logits of a request's images, float32 [N, classes]; None if its deadline passed before its turn.

        Args:
            images: uint8 or float32 [N, 3, side, side].
            seconds: Until its deadline. Clocks of two machines cannot be compared.
        """
        logits: NDArray[np.float32] | None = await self._run_together(Request(images, time.monotonic() + seconds))
        return logits

    def run(self, requests: list[Request]) -> list[NDArray[np.float32] | None]:
        """Return the logits of each request.

        Images of the two kinds are normalised differently, so they run one after the other.
        """
        now = time.monotonic()
        answers: list[NDArray[np.float32] | None] = [None] * len(requests)
        for kind in (np.uint8, np.float32):
            places = [
                place
                for place, request in enumerate(requests)
                if request.images.dtype == kind and request.deadline > now
            ]
            if places:
                images = torch.from_numpy(np.concatenate([requests[place].images for place in places]))
                with torch.inference_mode():
                    logits = self._prepared.run(images).numpy()
                ends = np.cumsum([len(requests[place].images) for place in places])[:-1]
                for place, part in zip(places, np.split(logits, ends), strict=True):
                    answers[place] = part
        return answers


def _elsewhere(_images: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("the model runs in another process")
