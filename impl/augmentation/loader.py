"""The endless loader for a training loop."""

import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..shared.cores import usable_cores
from ..variant import best_of
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
        ValueError: The dataset has no rows: an endless loader over it would never yield.
    """

    def __init__(self, dataset: Dataset, batch_size: int, workers: int = 0) -> None:
        from torch.utils.data import DataLoader  # noqa: PLC0415 - pool workers import this module and do not need torch

        if len(dataset) == 0:
            raise ValueError("dataset_size is 0: an endless loader needs at least one row")
        self.dataset = dataset
        self.batches_per_epoch = -(-len(dataset) // batch_size)
        # More workers than usable cores slow each other down; torch warns about them.
        workers = min(workers, usable_cores())
        self._loader: DataLoader[Any] = DataLoader(
            dataset,  # type: ignore[arg-type] # torch's annotation asks for its base class; its code uses these two methods
            batch_size=batch_size,
            num_workers=workers,
            # Not fork: see process_pool. Starting a worker takes seconds, so they are kept from epoch to epoch.
            multiprocessing_context="spawn" if workers else None,
            persistent_workers=workers > 0,
        )

    def __iter__(self) -> Iterator[list["torch.Tensor"]]:
        while True:
            yield from self._loader


def create_dataloader(
    text: str, config: Config, seed: int = 7, variant: str | None = None
) -> tuple[Any, Any, Tokenizer]:
    """Make the dataset, an endless loader over it, and the tokenizer that decodes its rows.

    Args:
        text: Any text; each variant cleans it.
        config: The settings; no more `workers` are started than there are usable cores.
        seed: Seeds the variant's random numbers.
        variant: A key of `VARIANTS`; None means the best one. A variant with a loader of its own computes rows on
            demand and does not store them.

    Returns:
        The dataset, the loader, and the tokenizer. The loader has `batches_per_epoch`.

    Raises:
        TypeError: `text` is not a str.
        ValueError: `text` is too long, `variant` is unknown, or `config.dataset_size` is 0.
        UnsupportedError: This machine cannot run the variant.
    """
    from . import VARIANTS  # noqa: PLC0415 - the package imports this module first

    if variant is None:
        variant = best_of(VARIANTS)
    if variant not in VARIANTS:
        near = difflib.get_close_matches(str(variant), VARIANTS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown variant {variant!r}; {hint}Known variants: {', '.join(VARIANTS)}")
    tokenizer = Tokenizer(config.max_letter_count)
    chosen = VARIANTS[variant]
    if chosen.loader is not None:
        chosen.require()
        return *chosen.loader(text, config, seed), tokenizer
    dataset = chosen(text, config, seed).to_host()
    return dataset, EndlessLoader(dataset, config.batch_size, config.workers), tokenizer
