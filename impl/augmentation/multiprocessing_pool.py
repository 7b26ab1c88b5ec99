"""Rows in batches over `multiprocessing.Pool`."""

import multiprocessing

from .batches import collect, jobs, make_batch
from .config import Config
from .dataset import Dataset
from .vocabulary import clean

__all__ = ["build"]


def build(text: str, config: Config, seed: int = 7) -> Dataset:
    """Make the dataset in `config.workers` processes (0: one). An exception in a worker is raised here.

    Raises:
        TypeError: `text` is not a str.
        ValueError: `text` is too long.
    """
    text = clean(text)
    # The spawn context for the reasons given in process_pool.
    with multiprocessing.get_context("spawn").Pool(max(1, config.workers)) as pool:
        return collect(pool.imap(make_batch, jobs(text, config, seed)), config)
