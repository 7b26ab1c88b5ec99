"""LitServe's API; in a module of its own, because LitServe sends it to a process by name."""

import base64
from typing import Any

import litserve
import torch

from benchmarks.peers.serving import Model


class Served(litserve.LitAPI):
    """One image in, its answer out."""

    def setup(self, _device: str) -> None:
        """Load."""
        self.model = Model()

    def decode_request(self, request: dict[str, str]) -> torch.Tensor:
        """Decode."""
        return self.model.decode(base64.b64decode(request["image"]))

    def batch(self, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        """Leave a batch a list."""
        return inputs

    def predict(self, x: list[torch.Tensor]) -> list[dict[str, Any]]:
        """Run a batch."""
        return self.model.predict(x)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Leave the answers a list."""
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """Leave an answer as it is."""
        return output
