"""The same model in other people's servers: `python -m benchmarks.peers.serving mosec` or `litserve`.

One process runs the model, with up to 64 images in a batch and up to 10 ms of waiting, as their documentation does it.
Each prints its address when it answers.
"""

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
from impl.serving.http.answers import predictions
from impl.serving.http.inputs import Decoder
from impl.serving.model.precision import prepare

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


def announce(port: int, ready: Callable[[], bool]) -> None:
    """Print the address as soon as the server answers."""

    def wait() -> None:
        while not ready():
            time.sleep(0.1)
        print(f"http://127.0.0.1:{port}", flush=True)

    threading.Thread(target=wait, daemon=True).start()


def answers(request: urllib.request.Request) -> bool:
    """Say whether a server answers a request."""
    try:
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310 - our own
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def run_mosec() -> None:
    """Serve with mosec: POST /inference, a .npy file."""
    import mosec  # noqa: PLC0415 - one peer needs not the other

    from benchmarks.peers.mosec_worker import Served  # noqa: PLC0415 - likewise

    port = free_port()
    sys.argv = [sys.argv[0], "--address", "127.0.0.1", "--port", str(port), "--timeout", "60000"]
    server = mosec.Server()
    server.append_worker(Served, num=1, max_batch_size=BATCH, max_wait_time=WAIT_MS)
    file = io.BytesIO()
    np.save(file, np.zeros((1, 32, 32, 3), np.uint8))
    announce(port, lambda: answers(urllib.request.Request(f"http://127.0.0.1:{port}/inference", file.getvalue())))
    server.run()


def run_litserve() -> None:
    """Serve with LitServe: POST /predict, JSON with the .npy file in base 64."""
    os.environ.setdefault("LIT_DISABLE_MODEL_PROFILING", "1")
    import litserve  # noqa: PLC0415 - see above

    from benchmarks.peers.litserve_api import Served  # noqa: PLC0415 - likewise

    port = free_port()
    api = Served(max_batch_size=BATCH, batch_timeout=WAIT_MS / 1e3)
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1, timeout=60)
    announce(port, lambda: answers(urllib.request.Request(f"http://127.0.0.1:{port}/health")))
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    {"mosec": run_mosec, "litserve": run_litserve}[sys.argv[1]]()
