"""mosec's worker, in its own module because mosec passes it to a process by name."""

from typing import Any

import mosec
import torch

from .served_model import ServedModel


class Worker(mosec.Worker):
    """One image in, its answer out."""

    def __init__(self) -> None:
        """Load the model."""
        super().__init__()
        self.model = ServedModel()

    def deserialize(self, data: bytes) -> torch.Tensor:
        """Decode one body."""
        return self.model.decode(data)

    def forward(self, data: list[torch.Tensor]) -> list[dict[str, Any]]:
        """Run a batch."""
        return self.model.predict(data)
