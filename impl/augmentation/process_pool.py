"""Makes batches of rows in parallel with `concurrent.futures.ProcessPoolExecutor`.

Faster than the baseline by at most the number of cores, because each row still costs the same. The workers also
tokenise their batches, so only two uint8 arrays per batch are sent back.

Measured (AMD EPYC Turin (Zen 5), 2 cores, Python 3.11, 2026-11-23, N = 100,000, 2 workers, against the baseline in the
same run): 1.8 times with both cores free, and 1.2 while other programs ran on them. Starting two processes that import
NumPy takes 0.4 s, so below some 25,000 rows the baseline is faster.

What did not help, in the run with both cores free:

- Returning strings from the workers and tokenising in the parent: 1.3. The parent's loop is the bottleneck.
- Returning lists of ids from the workers: 1.4. Pickling and unpickling 64 ints per row uses up the gain.

In a run while other programs ran, batches of 500 to 50,000 rows instead of 10,000 were 0.6 to 0.9 times as fast, and
four workers on the two cores 0.4 times. For one row per task see multiprocessing_pool.

It costs the baseline's exact rows: each batch seeds its own generators, so rows have the same distribution but are not
identical. Peak memory in the parent is 0.2 of the baseline's (N = 600,000), because no list of strings is held; each
worker takes 50 MiB.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from .batches import collect, jobs, make_batch
from .config import Config
from .dataset import Dataset
from .vocabulary import clean

__all__ = ["build"]


def build(text: str, config: Config, seed: int = 7) -> Dataset:
    """Make the dataset in `config.workers` processes (one if it is 0). An exception in a worker is reraised here.

    Raises:
        TypeError: `text` is not a str.
        ValueError: `text` is too long.
    """
    text = clean(text)
    # Not fork: a child forked from a process with threads (NumPy's, Numba's, torch's) can deadlock, and Python 3.12
    # and later warn about it. Not forkserver: it does not exist on Windows.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max(1, config.workers), mp_context=context) as pool:
        return collect(pool.map(make_batch, jobs(text, config, seed)), config)
