"""The endless loader over a dataset that stores no rows.

So a dataset of 10,000,000,000 rows starts at once in constant memory, and a training run resumes from the number of its
last batch, with as many ranks and workers as there are then.
"""

import multiprocessing
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader

from ..shared.cores import usable_cores
from .parts import Batch, Place, StreamBatches, read
from .rows import CHUNK
from .state import State, batch_of, origin_of, whole
from .streamed import StreamedDataset

__all__ = ["StreamBatches", "StreamLoader", "StreamedDataset"]


class StreamLoader:
    """Batches of a streamed dataset, in order, epoch after epoch without end.

    A batch is (float32 [batch_size, L], float32 [batch_size, 1]); the last one of an epoch may be shorter. Batches are
    views of a chunk of some 16,000 rows. The next chunk is computed while one is read.

    Of several ranks, each reads every `world_size`-th batch: see `parts` for what happens at the end of an epoch.

    `state_dict` and `load_state_dict` are those of torchdata's `StatefulDataLoader`. The state counts the batches that
    were yielded, and not those that are computed ahead. It is the number of a batch and not of a rank: after equally
    many batches the states of all ranks are equal. So a run may continue

    - with the same `world_size`, each rank from its own state, wherever each of them was; or
    - with another `world_size`, and with any number of workers, all ranks from one state that was taken when each rank
      had read equally many batches, as ranks that train together have after each step.

    Args:
        dataset: The rows.
        batch_size: Rows in a batch.
        start_batch: Batches to skip, of all ranks, counted over all epochs: a run that stopped after n batches of each
            rank resumes with `start_batch=n * world_size`.
        rank: Which rank this is, from 0.
        world_size: How many ranks there are.
        workers: Worker processes that compute the batches; no more are started than there are usable cores. With 0 a
            thread of this process computes them, which is faster: `workers` keeps a core free for Python code.
        multiprocessing_context: How the workers are started. "fork" is quicker than "spawn", and unsafe once this
            process has threads.

    Attributes:
        batches_per_epoch: ceil(len(dataset) / batch_size), of all ranks together.

    Raises:
        TypeError: A number is not an int.
        ValueError: The dataset has no rows, a number is too small, or `rank` is not below `world_size`.
    """

    def __init__(
        self,
        dataset: StreamedDataset,
        batch_size: int,
        start_batch: int = 0,
        *,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        multiprocessing_context: str = "spawn",
    ) -> None:
        self.workers = whole("workers", workers, 0)
        if multiprocessing_context not in multiprocessing.get_all_start_methods():
            known = ", ".join(multiprocessing.get_all_start_methods())
            raise ValueError(f"multiprocessing_context must be one of {known}, not {multiprocessing_context!r}")
        batches = StreamBatches(dataset, batch_size, start_batch, rank=rank, world_size=world_size)
        self.dataset = dataset
        self.batch_size = batches.batch_size
        self.batches_per_epoch = batches.batches_per_epoch
        self.start_batch = batches.start_batch
        self.rank = batches.rank
        self.world_size = batches.world_size
        self.multiprocessing_context = multiprocessing_context
        self._origin = origin_of(dataset, self.batch_size)
        self._place = Place(self.start_batch, self.rank, self.world_size)

    def __iter__(self) -> Iterator[Batch]:
        """Return an iterator that begins at `start_batch`."""
        self._place = Place(self.start_batch, self.rank, self.world_size)
        if self.workers:
            return self._read_from_workers(self._place)
        return read(self.dataset, self.batch_size, self._place, CHUNK)

    def _read_from_workers(self, place: Place) -> Iterator[Batch]:
        batches = StreamBatches(self.dataset, self.batch_size, place.batch, rank=self.rank, world_size=self.world_size)
        loader = DataLoader(
            batches,
            batch_size=None,
            num_workers=min(self.workers, usable_cores()),
            multiprocessing_context=self.multiprocessing_context,
            generator=torch.Generator(),  # it seeds the workers; torch's global one is left as it is
        )
        for tokens, labels in loader:
            place.advance(1, iter(()))  # here, where it is yielded: the workers are ahead of it
            yield tokens, labels

    def state_dict(self) -> State:
        """Return the place of the newest iterator: behind the last batch that it yielded.

        Before a batch is read, the place is where the next iterator begins.
        """
        return {**self._origin, "batch": self._place.batch}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Let the next iterators begin at the place of a state; it replaces `start_batch`. Others are left as they are.

        Raises:
            TypeError: It is not a mapping, or its position not an int.
            ValueError: It lacks an entry, or it is of another text, seed, size or batch size; the message names what
                differs. A refused state changes nothing.
        """
        self.start_batch = batch_of(state_dict, self._origin)
        self._place = Place(self.start_batch, self.rank, self.world_size)
