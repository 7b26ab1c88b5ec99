"""Other projects' servers with our model."""

from . import litserve_server, mosec_server
from .http_peer import HttpPeer

__all__ = ["PEERS"]

PEERS: dict[str, HttpPeer] = {
    "mosec": mosec_server.PEER,
    "litserve": litserve_server.PEER,
    "openvino_nncf": mosec_server.OPENVINO,
}
