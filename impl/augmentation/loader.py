"""The endless loader that a training loop reads."""

import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..shared.cores import usable_cores
from .config import Config
from .dataset import Dataset
from .tokenizer import Tokenizer

if TYPE_CHECKING:
    import torch

__all__ = ["EndlessLoader", "create_dataloader"]


class EndlessLoader:
    """Batches of a dataset, in its order, epoch after epoch without end.

    A batch is (float32 [batch_size, L], float32 [batch_size, 1]); the last one of an epoch may be shorter.

    Attributes:
        batches_per_epoch: ceil(len(dataset) / batch_size).

    Raises:
        ValueError: The dataset has no rows, so that there is no first batch to wait for.
    """

    def __init__(self, dataset: Dataset, batch_size: int, workers: int = 0) -> None:
        from torch.utils.data import DataLoader  # noqa: PLC0415 - pool workers import this module and need no torch

        if len(dataset) == 0:
            raise ValueError("dataset_size is 0: an endless loader needs at least one row")
        self.dataset = dataset
        self.batches_per_epoch = -(-len(dataset) // batch_size)
        # torch warns, rightly, when there are more workers than usable cores.
        workers = min(workers, usable_cores())
        self._loader: DataLoader[Any] = DataLoader(
            dataset,  # type: ignore[arg-type] # torch asks for its own base class, and uses only these two methods
            batch_size=batch_size,
            num_workers=workers,
            # Not fork, for the reasons given in process_pool. Starting a worker takes seconds: keep them over epochs.
            multiprocessing_context="spawn" if workers else None,
            persistent_workers=workers > 0,
        )

    def __iter__(self) -> Iterator[list["torch.Tensor"]]:
        while True:
            yield from self._loader


def create_dataloader(
    text: str, config: Config, seed: int = 7, variant: str = "optimised"
) -> tuple[Any, Any, Tokenizer]:
    """Make the dataset, an endless loader over it, and the tokenizer that reads its rows.

    Args:
        text: Any text; each variant cleans it.
        config: The settings; `workers` above the number of usable cores are not started.
        seed: Seeds the variant's random numbers.
        variant: A key of `VARIANTS`. With "optimised", rows are not stored but made when a batch asks for them.

    Returns:
        The dataset, the loader, and the tokenizer. The loader has `batches_per_epoch`.

    Raises:
        TypeError: `text` is not a str.
        ValueError: `text` is too long, `variant` is unknown, or `config.dataset_size` is 0.
    """
    from . import VARIANTS  # noqa: PLC0415 - the package imports this module first

    if variant not in VARIANTS:
        near = difflib.get_close_matches(str(variant), VARIANTS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown variant {variant!r}; {hint}Known variants: {', '.join(VARIANTS)}")
    tokenizer = Tokenizer(config.max_letter_count)
    if variant == "optimised":
        from .stream import StreamedDataset, StreamLoader  # noqa: PLC0415 - it needs torch, which pool workers do not

        streamed = StreamedDataset(text, config, seed)
        return streamed, StreamLoader(streamed, config.batch_size), tokenizer
    dataset = VARIANTS[variant](text, config, seed)
    return dataset, EndlessLoader(dataset, config.batch_size, config.workers), tokenizer
