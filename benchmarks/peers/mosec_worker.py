"""mosec's workers, in a module of their own because mosec passes them to a process by name."""

from typing import Any

import mosec
import torch

from .served_model import ServedModel


class Worker(mosec.Worker):
    """One image in, its answer out."""

    def __init__(self) -> None:
        """Load the model."""
        super().__init__()
        self.model = self.load()

    def load(self) -> ServedModel:
        """Return the model: our best variant's."""
        return ServedModel()

    def deserialize(self, data: bytes) -> torch.Tensor:
        """Decode one body."""
        return self.model.decode(data)

    def forward(self, data: list[torch.Tensor]) -> list[dict[str, Any]]:
        """Run a batch."""
        return self.model.predict(data)


class OpenvinoWorker(Worker):
    """The same with OpenVINO's model."""

    def load(self) -> ServedModel:
        """Return the model."""
        from .openvino_vit import OpenvinoModel  # noqa: PLC0415 - mosec is installed without OpenVINO, too

        return OpenvinoModel()
