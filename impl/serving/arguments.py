"""The options that every server of this case has: its address, and one for each setting of `ServingConfig`."""

import argparse
import re
import socket
import sys
from dataclasses import fields
from pathlib import Path
from typing import NoReturn

from .config import DEVICES, PRECISIONS, ServingConfig

__all__ = ["OneLineParser", "add_settings", "config_of", "expect_free", "one_line", "read_arguments"]


class OneLineParser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong; `--help` has the rest."""

    def error(self, message: str) -> NoReturn:
        """Print the message, and exit with status 2."""
        self.exit(2, f"{self.prog}: {one_line(message)}\n")


def one_line(error: object) -> str:
    """Return what an error says, on one line and not longer than a reader reads."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= 500 else f"{text[:499]}…"


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the address, and an option for each setting of `ServingConfig`."""
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--model", default=ServingConfig.model, help="a classifier of torchvision")
    parser.add_argument("--checkpoint", type=Path, help="weights: .safetensors, or a file by torch.save")
    parser.add_argument("--weights", help="torchvision's own weights, such as IMAGENET1K_V1")
    parser.add_argument("--labels", type=Path, help="a file with one class name per line")
    parser.add_argument("--device", choices=DEVICES, default=ServingConfig.device, help="where the model runs")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--cache-mb", type=float, default=ServingConfig.cache_mb, help="bound of the answer cache")
    parser.add_argument("--max-batch", type=int, default=ServingConfig.max_batch, help="images in one forward pass")
    parser.add_argument("--max-wait-ms", type=float, default=ServingConfig.max_wait_ms, help="to fill a batch")
    parser.add_argument("--max-queue", type=int, default=ServingConfig.max_queue, help="images that may wait")
    parser.add_argument("--max-body-mb", type=float, default=ServingConfig.max_body_mb)
    parser.add_argument("--max-pixels", type=int, default=ServingConfig.max_pixels, help="of all pictures of a request")
    parser.add_argument("--timeout-ms", type=float, default=ServingConfig.timeout_ms)
    parser.add_argument("--memory-mb", type=float, default=ServingConfig.memory_mb, help="0: the container's limit")


def read_arguments(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    """Return the arguments, by default the process's, with an address that can be one."""
    _check_arguments(parser, sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(arguments)
    if not 0 <= options.port <= 65_535:
        parser.error(f"--port must be at least 0 and at most 65535, not {options.port!r:.50}")
    if not re.fullmatch(r"[!-~]+", options.host):  # "" would be every address
        parser.error(f"--host must be an address or a name, not {options.host!r:.50}")
    return options


def config_of(parser: argparse.ArgumentParser, options: argparse.Namespace) -> ServingConfig:
    """Return the settings among the arguments, checked."""
    try:
        return ServingConfig(**{field.name: getattr(options, field.name) for field in fields(ServingConfig)})
    except ValueError as error:
        parser.error(_as_options(str(error)))


def expect_free(host: str, port: int) -> None:
    """Bind an address and leave it again, without listening: no client can connect yet.

    Raises:
        OSError, ValueError: It is in use, or none of this machine's.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does it
        trial.bind((host, port))


def _check_arguments(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """Refuse what argparse takes and should not: an option that is given twice, and the value `--`, which it drops."""
    given = [argument.partition("=")[0] for argument in arguments if argument.startswith("--")]
    for name in given:
        if given.count(name) > 1:
            parser.error(f"{name} is given more than once")
        if f"{name}=--" in arguments:
            parser.error(f"{name} has no value")


def _as_options(message: str) -> str:
    """Return a message about settings with the names of the options."""
    for field in fields(ServingConfig):
        pattern = rf"\b{field.name}\b" if "_" in field.name else rf"^{field.name}\b"
        message = re.sub(pattern, f"--{field.name.replace('_', '-')}", message)
    return message.replace("--checkpoint and weights", "--checkpoint and --weights")
