"""Which batches of a streamed dataset are read by one part of a run: a rank, or one worker process of a rank.

Batches are numbered over all epochs. Where all parts begin at batch b, part p of n reads b + p, b + p + n, b + 2 n + p,
and so on without end. So:

- Any n consecutive batches are read by n parts, one by each, and each row of an epoch exactly once.
- The number of batches in an epoch need not be a multiple of n. No batch is repeated or left out to make it one: while
  some parts read the last batches of an epoch, the others read the first ones of the next. No part ever waits for
  another, or ends before it.
- The last batch of an epoch may be shorter, and only the part that reads it sees this. It is another part in each
  epoch, unless n divides the number of batches.
- After equally many batches all parts are at the same place, which is one number. From there any other number of parts
  can continue.

Contiguous shares of an epoch would be computed faster: here each batch is computed by a call of its own, in groups of
64 rows. But a run could then continue with another number of ranks at the end of an epoch only.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import length_hint
from typing import Any, TypeAlias

import torch
from torch.utils.data import IterableDataset, get_worker_info

from .rows import CHUNK
from .state import State, batch_of, origin_of, whole
from .streamed import StreamedDataset

__all__ = ["Batch", "BatchIterator", "Place", "StreamBatches", "read"]

Batch: TypeAlias = tuple[torch.Tensor, torch.Tensor]
Piece: TypeAlias = tuple[int, int]


class Place:
    """One part of several, and how far it has read.

    Args:
        batch: The number of the batch at which all parts begin.
        part: Which part this is, from 0.
        parts: How many there are.
    """

    def __init__(self, batch: int, part: int, parts: int) -> None:
        self.part, self.parts = part, parts
        self._chunk: tuple[int, Iterator[torch.Tensor]] = batch, iter(())

    @property
    def batch(self) -> int:
        """The number of the batch at which all parts are once each has read as many as this one."""
        end, unread = self._chunk
        return end - length_hint(unread) * self.parts

    def advance(self, batches: int, unread: Iterator[torch.Tensor]) -> None:
        """Go on by some batches, less those that `unread` still holds.

        A tuple's iterator knows how many it holds. So nothing is counted for each batch, and a loader whose state is
        never asked for is as fast as one without.
        """
        self._chunk = self._chunk[0] + batches * self.parts, unread


def read(dataset: StreamedDataset, batch_size: int, place: Place, rows_at_once: int) -> Iterator[Batch]:
    """Yield a part's batches without end, and keep `place` up to date.

    A batch is (float32 [batch_size, L], float32 [batch_size, 1]), or shorter. Batches are views of a chunk of about
    `rows_at_once` rows. The next chunk is computed while one is read.
    """
    chunks = _chunks(len(dataset), batch_size, place, max(1, rows_at_once // batch_size))

    def compute() -> tuple[torch.Tensor, torch.Tensor, int | list[int]]:
        pieces = next(chunks)
        if place.parts == 1:
            return *dataset.batch(*pieces[0]), batch_size
        return *dataset.gather(pieces), [count for _, count in pieces]

    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(compute)
        while True:
            tokens, labels, sizes = coming.result()
            coming = ahead.submit(compute)
            parts = torch.split(labels, sizes)
            unread = iter(parts)
            place.advance(len(parts), unread)
            yield from zip(torch.split(tokens, sizes), unread, strict=True)


def _chunks(rows: int, batch_size: int, place: Place, batches: int) -> Iterator[Sequence[Piece]]:
    """Yield the rows of a chunk as (first row, rows): one such piece per batch, or one for all of a lone part."""
    per_epoch = -(-rows // batch_size)
    number = place.batch + place.part
    while True:
        if place.parts == 1:
            count = min(batches, per_epoch - number % per_epoch)  # consecutive, so not beyond the end of an epoch
            first = number % per_epoch * batch_size
            yield [(first, min(count * batch_size, rows - first))]
        else:
            count = batches
            numbers = range(number, number + count * place.parts, place.parts)
            firsts = [each % per_epoch * batch_size for each in numbers]
            yield [(first, min(batch_size, rows - first)) for first in firsts]
        number += count * place.parts


class StreamBatches(IterableDataset[Batch]):
    """The batches of one rank, to be read by a DataLoader and its workers, which share them.

    For `torch.utils.data.DataLoader` and torchdata's `StatefulDataLoader`, with `batch_size=None` because the items are
    batches already. With any number of workers the loader yields what it yields with none, in the same order.

    The state belongs to the iterators. `StatefulDataLoader` saves those of its workers as of the last batch that it
    yielded, whatever else is prefetched, and continues with as many workers. `DataLoader` has no state: its caller
    counts batches, or uses `StreamLoader(..., workers=n)`, which counts them.

    Args:
        dataset: The rows.
        batch_size: Rows in a batch.
        start_batch: Batches to skip, of all ranks, counted over all epochs.
        rank: Which rank this is, from 0.
        world_size: How many ranks there are.

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
    ) -> None:
        if len(dataset) == 0:
            raise ValueError("dataset_size is 0: an endless loader needs at least one row")
        self.dataset = dataset
        self.batch_size = whole("batch_size", batch_size, 1)
        self.start_batch = whole("start_batch", start_batch, 0)
        self.world_size = whole("world_size", world_size, 1)
        self.rank = whole("rank", rank, 0)
        if self.rank >= self.world_size:
            raise ValueError(f"rank must be below world_size, which is {self.world_size}, not {self.rank}")
        self.batches_per_epoch = -(-len(dataset) // self.batch_size)

    def __iter__(self) -> "BatchIterator":
        """Return an iterator over the batches, in a worker process over the worker's share of them."""
        worker = get_worker_info()
        index, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return BatchIterator(self, self.rank + self.world_size * index, self.world_size * workers)


class BatchIterator(Iterator[Batch]):
    """The batches of one part, with a state of its own, as `StatefulDataLoader` saves it for each worker.

    Beside the position a state has `parts`, which is ranks times workers: the workers of a rank need not have read
    equally many batches, so another number of them cannot continue.
    """

    def __init__(self, batches: StreamBatches, part: int, parts: int) -> None:
        self._batches, self._part, self._parts = batches, part, parts
        self._origin: State = {**origin_of(batches.dataset, batches.batch_size), "parts": parts}
        self._begin(batches.start_batch)

    def _begin(self, batch: int) -> None:
        self._place = Place(batch, self._part, self._parts)
        self._reader = read(self._batches.dataset, self._batches.batch_size, self._place, CHUNK)

    def __next__(self) -> Batch:
        return next(self._reader)

    def state_dict(self) -> State:
        """Return the place behind the last batch."""
        return {**self._origin, "batch": self._place.batch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state.

        Raises:
            TypeError: It is not a mapping, or its position not an int.
            ValueError: It is of other rows or of another number of parts; the message names what differs.
        """
        self._begin(batch_of(state, self._origin))
