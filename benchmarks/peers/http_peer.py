"""The shape that peers of the serving case share: a server of its own process, and the body of its requests."""

import importlib.util
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["HttpPeer", "answers", "free_port", "print_address_when"]


@dataclass(frozen=True)
class HttpPeer:
    """Another project's server with our model.

    Attributes:
        needs: The packages that have to be installed.
        module: `python -m MODULE ARGUMENTS` serves, and prints its address when it answers.
        encode: Makes the body, the media type and the path of a request with one picture, uint8 [1, 32, 32, 3].
        arguments: Of the command line.
        prepare: Makes what the server would otherwise make when it starts, if that takes minutes.
    """

    needs: tuple[str, ...]
    module: str
    encode: Callable[[Any], tuple[Any, ...]]
    arguments: tuple[str, ...] = ()
    prepare: Callable[[], object] = lambda: None

    @property
    def installed(self) -> bool:
        """Whether its packages can be imported."""
        return all(map(importlib.util.find_spec, self.needs))


def free_port() -> int:
    """Return a port that was free a moment ago, for servers that cannot choose one themselves."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def print_address_when(port: int, ready: Callable[[], bool]) -> None:
    """Print the address as soon as the server answers, from a thread."""

    def wait() -> None:
        while not ready():
            time.sleep(0.1)
        print(f"http://127.0.0.1:{port}", flush=True)

    threading.Thread(target=wait, daemon=True).start()


def answers(request: urllib.request.Request) -> bool:
    """Return whether a server answers a request with 200."""
    try:
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310 - our own
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False
