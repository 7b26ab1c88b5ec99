"""The same model in other people's servers: `python -m benchmarks.serving_peers mosec` or `litserve`.

One process runs the model, with up to 64 images in a batch and up to 10 ms of waiting, as their documentation does it.
Each prints its address when it answers.
"""

import base64
import io
import os
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from impl.serving import ServingConfig
from impl.serving.answers import predictions
from impl.serving.inputs import Decoder
from impl.serving.precision import prepare

BATCH, WAIT_MS = 64, 10


class Model:
    """Decoding, the model and the answer: what `optimised` does, without its server."""

    def __init__(self) -> None:
        """Load."""
        self.prepared = prepare(ServingConfig())
        self.decoder = Decoder(self.prepared.side, BATCH, 10**7)

    def decode(self, body: bytes) -> torch.Tensor:
        """Return one image, uint8 [1, 3, side, side], of a .npy file."""
        return self.decoder.array(np.load(io.BytesIO(body), allow_pickle=False), "the body")

    def predict(self, images: list[torch.Tensor]) -> list[dict[str, Any]]:
        """Return an answer an image."""
        with torch.inference_mode():
            logits = self.prepared.run(torch.cat(images))
        return [{"success": True, "predictions": [found]} for found in predictions(logits, self.prepared.labels)]


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def announce(port: int, answers: Callable[[], bool]) -> None:
    """Print the address as soon as the server answers."""

    def wait() -> None:
        while not answers():
            time.sleep(0.1)
        print(f"http://127.0.0.1:{port}", flush=True)

    threading.Thread(target=wait, daemon=True).start()


def answers_get(url: str) -> bool:
    """Say whether a server answers."""
    try:
        with urllib.request.urlopen(url, timeout=1) as response:  # noqa: S310 - our own
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def run_mosec() -> None:
    """Serve with mosec: POST /inference, a .npy file."""
    import mosec  # noqa: PLC0415 - one peer needs not the other

    class Served(mosec.Worker):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = Model()

        def deserialize(self, data: bytes) -> torch.Tensor:
            return self.model.decode(data)

        def forward(self, data: list[torch.Tensor]) -> list[dict[str, Any]]:
            return self.model.predict(data)

    port = free_port()
    sys.argv = [sys.argv[0], "--address", "127.0.0.1", "--port", str(port), "--timeout", "60000"]
    server = mosec.Server()
    server.append_worker(Served, num=1, max_batch_size=BATCH, max_wait_time=WAIT_MS)

    def post() -> bool:
        file = io.BytesIO()
        np.save(file, np.zeros((1, 32, 32, 3), np.uint8))
        return answers_get_post(f"http://127.0.0.1:{port}/inference", file.getvalue())

    announce(port, post)
    server.run()


def answers_get_post(url: str, body: bytes) -> bool:
    """Say whether a server answers a request."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=5) as response:  # noqa: S310 - our own
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def run_litserve() -> None:
    """Serve with LitServe: POST /predict, JSON with the .npy file in base 64."""
    os.environ.setdefault("LIT_DISABLE_MODEL_PROFILING", "1")
    import litserve  # noqa: PLC0415 - see above

    class Served(litserve.LitAPI):  # type: ignore[misc]
        def setup(self, _device: str) -> None:
            self.model = Model()

        def decode_request(self, request: dict[str, str]) -> torch.Tensor:
            return self.model.decode(base64.b64decode(request["image"]))

        def batch(self, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
            return inputs

        def predict(self, x: Any) -> Any:
            return self.model.predict(x)

        def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return output

        def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
            return output

    port = free_port()
    api = Served(max_batch_size=BATCH, batch_timeout=WAIT_MS / 1e3)
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1, timeout=60)
    announce(port, lambda: answers_get(f"http://127.0.0.1:{port}/health"))
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    {"mosec": run_mosec, "litserve": run_litserve}[sys.argv[1]]()
