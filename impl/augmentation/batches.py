"""The work that both pool variants share: splitting the rows into batches, making a batch, collecting the results."""

import random
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .baseline import misspell
from .config import Config
from .dataset import Dataset
from .progress import progress
from .tokenizer import Tokenizer

__all__ = ["BATCH_ROWS", "Arrays", "collect", "jobs", "make_batch"]

BATCH_ROWS = 10_000
"""Rows in a batch: about 0.4 s of work, so that sending a batch takes negligible time beside making it."""

Job: TypeAlias = tuple[str, Config, int, int, int]
Arrays: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def jobs(text: str, config: Config, seed: int) -> Iterator[Job]:
    """Yield the argument of `make_batch` for each batch, in order."""
    for number, start in enumerate(range(0, config.dataset_size, BATCH_ROWS)):
        yield text, config, seed, number, min(BATCH_ROWS, config.dataset_size - start)


def make_batch(job: Job) -> Arrays:
    """Return the tokens, uint8 [rows, L], and the labels, uint8 [rows], of one batch.

    The generators are seeded from (seed, batch number), so the result depends neither on the number of workers nor on
    which of them makes the batch.
    """
    text, config, seed, number, rows = job
    words = np.random.SeedSequence([seed, number]).generate_state(2)
    random.seed(int(words[0]))
    np.random.seed(words[1])  # noqa: NPY002 - misspell draws from NumPy's global legacy generator
    texts = [misspell_or_empty(text, config.max_modifications) for _ in range(rows)]
    labels = np.array([random.randint(0, 1) for _ in range(rows)], dtype=np.uint8)
    return Tokenizer(config.max_letter_count).encode_batch(texts), labels


def misspell_or_empty(text: str, max_modifications: int) -> str:
    """Return one misspelled copy of `text`; a copy that becomes empty is finished, not an error."""
    try:
        return misspell(text, max_modifications)
    except IndexError:  # random.choice has no position: the copy is empty, and no edit can change that
        return ""


def collect(results: Iterator[Arrays], config: Config) -> Dataset:
    """Copy the batches, which must arrive in order, into one dataset."""
    tokens = np.empty((config.dataset_size, config.max_letter_count), dtype=np.uint8)
    labels = np.empty(config.dataset_size, dtype=np.uint8)
    start = 0
    for batch, batch_labels in progress(results, total=-(-config.dataset_size // BATCH_ROWS), unit="batch"):
        stop = start + len(batch)
        tokens[start:stop], labels[start:stop] = batch, batch_labels
        start = stop
    return Dataset(tokens, labels)
