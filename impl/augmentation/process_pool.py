"""Rows in batches over `concurrent.futures.ProcessPoolExecutor`."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

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
    # Not fork: a child forked from a process with threads (NumPy's, Numba's, torch's) can deadlock, and Python warns
    # from 3.12 on. Not forkserver: Windows has none.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max(1, config.workers), mp_context=context) as pool:
        return collect(pool.map(make_batch, jobs(text, config, seed)), config)
