"""Answers that were given before, the least recently used forgotten first, within a bound of bytes."""

import hashlib
import sys
import threading
from collections import OrderedDict

import torch

__all__ = ["Remembered"]

OVERHEAD = 400  # bytes an entry takes beside its numbers: key, tensor, links; measured


class Remembered:
    """Logits by the pixels they are of; for any thread."""

    def __init__(self, limit: int, model: str) -> None:
        """Begin empty.

        Args:
            limit: In bytes; 0 remembers nothing.
            model: Tells the model and its precision from others.
        """
        self.limit, self.used = limit, 0
        self._model = model.encode()
        self._entries: OrderedDict[bytes, torch.Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def key(self, image: torch.Tensor) -> bytes:
        """Return the digest of one image, uint8 or float32 [3, side, side]."""
        found = hashlib.blake2b(digest_size=20, key=hashlib.sha256(self._model).digest())
        found.update(f"{image.dtype} {tuple(image.shape)}".encode())
        found.update(image.contiguous().numpy().data)
        return found.digest()

    def get(self, key: bytes) -> torch.Tensor | None:
        """Return the logits, float32 [classes], or None."""
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
            return found

    def put(self, key: bytes, logits: torch.Tensor) -> None:
        """Remember, and forget what is over the limit."""
        kept = logits.clone()  # a view would hold on to its whole batch
        size = _size(key, kept)
        with self._lock:
            if key in self._entries or size > self.limit:
                return
            self._entries[key] = kept
            self.used += size
            while self.used > self.limit:
                oldest, forgotten = self._entries.popitem(last=False)
                self.used -= _size(oldest, forgotten)

    def __len__(self) -> int:
        """Return how many are remembered."""
        return len(self._entries)


def _size(key: bytes, logits: torch.Tensor) -> int:
    return sys.getsizeof(key) + logits.nbytes + OVERHEAD
