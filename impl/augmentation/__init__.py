"""Augmentation.

From one text, make N misspelled copies with random labels, turn each into a fixed-length row of character ids, and
serve them to a training loop as an endless loader.

Importing this package imports neither torch nor Numba: the workers of the pool variants import it too, and would each
wait for them.
"""

from . import baseline, exact, multiprocessing_pool, numpy_vectorised, optimised, process_pool
from .config import Config
from .loader import create_dataloader
from .tokenizer import Tokenizer

__all__ = ["VARIANTS", "Config", "Tokenizer", "create_dataloader"]

VARIANTS = {
    "baseline": baseline.build,
    "process_pool": process_pool.build,
    "multiprocessing_pool": multiprocessing_pool.build,
    "numpy_vectorised": numpy_vectorised.build,
    "exact": exact.build,
    "optimised": optimised.build,
}
