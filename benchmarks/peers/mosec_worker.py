"""mosec's worker; in a module of its own, because mosec sends it to a process by name."""

from typing import Any

import mosec
import torch

from benchmarks.peers.serving import Model


class Served(mosec.Worker):
    """One image in, its answer out."""

    def __init__(self) -> None:
        """Load."""
        super().__init__()
        self.model = Model()

    def deserialize(self, data: bytes) -> torch.Tensor:
        """Decode."""
        return self.model.decode(data)

    def forward(self, data: list[torch.Tensor]) -> list[dict[str, Any]]:
        """Run a batch."""
        return self.model.predict(data)
