"""LitServe's API, in its own module because LitServe passes it to a process by name."""

import base64
from typing import Any

import litserve
import torch

from .served_model import ServedModel


class Api(litserve.LitAPI):
    """One image in, its answer out."""

    def setup(self, _device: str) -> None:
        """Load the model."""
        self.model = ServedModel()

    def decode_request(self, request: dict[str, str]) -> torch.Tensor:
        """Decode one body."""
        return self.model.decode(base64.b64decode(request["image"]))

    def batch(self, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the batch as a list."""
        return inputs

    def predict(self, x: list[torch.Tensor]) -> list[dict[str, Any]]:
        """Run a batch."""
        return self.model.predict(x)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the answers as a list."""
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """Return the answer unchanged."""
        return output
