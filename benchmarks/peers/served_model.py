"""What the peers of the serving case run: decoding, model and answer of our best variant, without its server."""

import io
from typing import Any

import numpy as np
import torch

from impl.serving import ServingConfig
from impl.serving.http.answers import predictions
from impl.serving.http.inputs import Decoder
from impl.serving.model.precision import prepare

__all__ = ["MAX_BATCH", "MAX_WAIT_MS", "ServedModel"]

MAX_BATCH, MAX_WAIT_MS = 64, 10
"""Images in a batch and the longest wait to fill it, as in the examples of the peers' documentation."""


class ServedModel:
    """The model, in a process of a peer."""

    def __init__(self) -> None:
        """Load it."""
        self._prepared = prepare(ServingConfig())
        self._decoder = Decoder(self._prepared.side, MAX_BATCH, 10**7)

    def decode(self, body: bytes) -> torch.Tensor:
        """Return one image, uint8 [1, 3, side, side], of a .npy file."""
        return self._decoder.array(np.load(io.BytesIO(body), allow_pickle=False), "the body")

    def predict(self, images: list[torch.Tensor]) -> list[dict[str, Any]]:
        """Return one answer per image."""
        with torch.inference_mode():
            logits = self._prepared.run(torch.cat(images))
        return [{"success": True, "predictions": [entry]} for entry in predictions(logits, self._prepared.labels)]
