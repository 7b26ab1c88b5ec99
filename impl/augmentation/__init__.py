"""Augmentation.

From one text, make N misspelled copies with random labels, turn each into a fixed-length row of character ids, and
serve them to a training loop as an endless loader.

Importing this package imports neither torch nor Numba: each worker process of the pool variants imports it too, and
would wait for both.
"""

from ..variant import SAME_BYTES, SAME_DISTRIBUTION, Variant
from . import baseline, exact, gpu, multiprocessing_pool, numpy_vectorised, optimised, process_pool
from .config import Config
from .dataset import Dataset
from .loader import create_dataloader
from .tokenizer import Tokenizer

__all__ = ["VARIANTS", "Config", "Tokenizer", "create_dataloader"]

VARIANTS: dict[str, Variant[..., Dataset | gpu.DeviceDataset]] = {
    "baseline": Variant(baseline.build, SAME_BYTES),
    "process_pool": Variant(process_pool.build, SAME_DISTRIBUTION),
    "multiprocessing_pool": Variant(multiprocessing_pool.build, SAME_DISTRIBUTION),
    "numpy_vectorised": Variant(numpy_vectorised.build, SAME_DISTRIBUTION),
    "exact": Variant(exact.build, SAME_BYTES),
    "optimised": Variant(optimised.build, SAME_DISTRIBUTION, best=True, loader=optimised.stream),
    "gpu": Variant(gpu.build, SAME_DISTRIBUTION, device="cuda", unsupported=gpu.missing, loader=gpu.load),
}
