"""mosec with our model: `python -m benchmarks.peers.mosec_server` serves POST /inference, a .npy file.

With the argument `openvino` it serves OpenVINO's model instead.
"""

import io
import sys
import urllib.request
from dataclasses import replace

import numpy as np

from impl.serving.client import Pixels, as_npy

from .http_peer import HttpPeer, answers, free_port, print_address_when

__all__ = ["OPENVINO", "PEER"]


def encode(picture: Pixels) -> tuple[bytes, str, str]:
    """Return body, media type and path."""
    return (*as_npy(picture), "/inference")


PEER = HttpPeer(("mosec",), "benchmarks.peers.mosec_server", encode)


def prepare_openvino() -> None:
    """Have OpenVINO's model quantised and kept on disk."""
    from .openvino_vit import compiled  # noqa: PLC0415 - imports torch

    compiled()


OPENVINO = replace(PEER, needs=("mosec", "openvino", "nncf"), arguments=("openvino",), prepare=prepare_openvino)


def main() -> None:
    """Serve. One process runs the model."""
    import mosec  # noqa: PLC0415 - the benchmark imports this module where mosec is not installed

    from .mosec_worker import OpenvinoWorker, Worker  # noqa: PLC0415 - likewise
    from .served_model import MAX_BATCH, MAX_WAIT_MS  # noqa: PLC0415 - imports torch

    worker = OpenvinoWorker if "openvino" in sys.argv[1:] else Worker
    port = free_port()
    sys.argv = [sys.argv[0], "--address", "127.0.0.1", "--port", str(port), "--timeout", "60000"]
    server = mosec.Server()
    server.append_worker(worker, num=1, max_batch_size=MAX_BATCH, max_wait_time=MAX_WAIT_MS)
    file = io.BytesIO()
    np.save(file, np.zeros((1, 32, 32, 3), np.uint8))
    request = urllib.request.Request(f"http://127.0.0.1:{port}/inference", file.getvalue())
    print_address_when(port, lambda: answers(request))
    server.run()


if __name__ == "__main__":
    main()
