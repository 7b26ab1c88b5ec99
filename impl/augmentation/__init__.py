"""Augmentation.

From one text, make N misspelled copies with random labels, turn each into a fixed-length row of character ids, and
serve them to a training loop as an endless loader.

Importing this package does not import torch: the workers of the pool variants import it too, and torch would cost
each of them seconds.
"""

from . import baseline
from .config import Config
from .tokenizer import Tokenizer

__all__ = ["VARIANTS", "Config", "Tokenizer"]

VARIANTS = {
    "baseline": baseline.build,
}
