"""LitServe with our model: `python -m benchmarks.peers.litserve_server` serves POST /predict, .npy in base 64."""

import base64
import json
import os
import urllib.request

from impl.serving.client import Pixels, as_npy

from .http_peer import HttpPeer, answers, free_port, print_address_when

__all__ = ["PEER"]


def encode(picture: Pixels) -> tuple[bytes, str]:
    """Return body and media type."""
    return json.dumps({"image": base64.b64encode(as_npy(picture)[0]).decode()}).encode(), "application/json"


PEER = HttpPeer(("litserve",), "benchmarks.peers.litserve_server", encode)


def main() -> None:
    """Serve. One process runs the model."""
    os.environ.setdefault("LIT_DISABLE_MODEL_PROFILING", "1")
    import litserve  # noqa: PLC0415 - the benchmark imports this module where LitServe is not installed

    from .litserve_api import Api  # noqa: PLC0415 - likewise
    from .served_model import MAX_BATCH, MAX_WAIT_MS  # noqa: PLC0415 - imports torch

    port = free_port()
    api = Api(max_batch_size=MAX_BATCH, batch_timeout=MAX_WAIT_MS / 1e3)
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1, timeout=60)
    print_address_when(port, lambda: answers(urllib.request.Request(f"http://127.0.0.1:{port}/health")))
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
