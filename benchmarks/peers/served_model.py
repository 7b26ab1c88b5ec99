"""What the peers of the serving case run: the network in float32, or our best variant without its server."""

import io
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from impl.serving import ServingConfig
from impl.serving.http.answers import predictions
from impl.serving.http.inputs import Decoder
from impl.serving.model.pictures import drawn
from impl.serving.model.precision import prepare
from impl.serving.model.weights import rebuild, source_of

__all__ = ["CALIBRATION", "MAX_BATCH", "MAX_WAIT_MS", "FloatModel", "ServedModel", "calibration"]

MAX_BATCH, MAX_WAIT_MS = 64, 10
"""Images in a batch and the longest wait to fill it, as in the examples of the peers' documentation."""
CALIBRATION = 128
"""Pictures that runtimes are quantised with."""


class FloatModel(nn.Module):
    """ViT-L/32 in float32, for runtimes to quantise: uint8 [N, 3, side, side] to logits."""

    def __init__(self) -> None:
        """Load it."""
        super().__init__()
        config = ServingConfig()
        source = source_of(config)
        self.network = rebuild(config.model, source).eval()
        self.key, self.side = source.key, self.network.image_size

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        logits: torch.Tensor = self.network(images / 255)
        return logits


@cache
def calibration(side: int) -> torch.Tensor:
    """Return pictures to quantise with, uint8 [CALIBRATION, 3, side, side], of a seed that no benchmark uses."""
    return drawn(CALIBRATION, 2**31, side)


class ServedModel:
    """The model, in a process of a peer."""

    def __init__(self) -> None:
        """Load it."""
        self._prepared = prepare(ServingConfig())
        self._decoder = Decoder(self._prepared.side, MAX_BATCH, 10**7)

    def decode(self, body: bytes) -> torch.Tensor:
        """Return one image, uint8 [1, 3, side, side], of a .npy file."""
        return self._decoder.array(np.load(io.BytesIO(body), allow_pickle=False), "the body")

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return float32 [N, classes]."""
        with torch.inference_mode():
            return self._prepared.run(images)

    def predict(self, images: list[torch.Tensor]) -> list[dict[str, Any]]:
        """Return one answer per image."""
        logits = self.logits(torch.cat(images))
        return [{"success": True, "predictions": [entry]} for entry in predictions(logits, self._prepared.labels)]
