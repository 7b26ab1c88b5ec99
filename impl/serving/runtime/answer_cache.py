"""The answer cache: logits of images seen before, bounded in bytes, the least recently used dropped first."""

import hashlib
import threading
from functools import cache

import torch
from cachetools import LRUCache

__all__ = ["AnswerCache"]

OVERHEAD = 740
"""Bytes per entry beside its numbers: key, tensor, links. 731 were measured as growth of the resident set over 100,000
entries (CPython 3.11, torch 2.15, cachetools, 2026-11-25)."""


class AnswerCache:
    """Logits by the pixels of their image; thread-safe."""

    def __init__(self, limit: int, model: str) -> None:
        """Create an empty cache.

        Args:
            limit: In bytes; 0 keeps nothing.
            model: Identifies the weights and their precision; part of every key.
        """
        self.limit = limit
        self._model_digest = hashlib.sha256(model.encode()).digest()
        self._entries: LRUCache[bytes, torch.Tensor] = LRUCache(limit, getsizeof=_size)
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        """Bytes in use."""
        return int(self._entries.currsize)

    def key(self, image: torch.Tensor) -> bytes:
        """Return the digest of one image, uint8 or float32 [3, side, side]."""
        digest = hashlib.blake2b(_form(image.dtype, image.shape), digest_size=20, key=self._model_digest)
        digest.update(image.contiguous().numpy().data)
        return digest.digest()

    def get(self, key: bytes) -> torch.Tensor | None:
        """Return the logits, float32 [classes], or None."""
        with self._lock:
            return self._entries.get(key)

    def put(self, key: bytes, logits: torch.Tensor) -> None:
        """Keep the logits of an image, float32 [classes], and drop the least recently used beyond the limit."""
        kept = logits.clone()  # a view would keep its whole batch alive
        with self._lock:
            if _size(kept) <= self.limit:
                self._entries[key] = kept

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)


@cache
def _form(dtype: torch.dtype, shape: torch.Size) -> bytes:
    """Return what keeps images of other forms apart; all images of a server have one of two."""
    return f"{dtype} {tuple(shape)}".encode()


def _size(logits: torch.Tensor) -> int:
    """Return the bytes of one entry."""
    return logits.nbytes + OVERHEAD
