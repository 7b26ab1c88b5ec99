"""Run a variant: `python -m impl.serving NAME --model vit_l_32 --port 8000`."""

import argparse
import logging
import sys
import threading
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import PRECISIONS, ServingConfig, is_loopback

if TYPE_CHECKING:
    from ..variant import Variant
    from .http.server import Server
    from .runtime.service import Service


def parse(arguments: list[str] | None) -> tuple[argparse.Namespace, ServingConfig]:
    """Return the arguments, checked, and their configuration."""
    from . import VARIANTS  # noqa: PLC0415 - imports torch, which the import of this module need not wait for
    from .http.pickled import PICKLE  # noqa: PLC0415 - likewise

    parser = argparse.ArgumentParser(prog="python -m impl.serving", description=__doc__)
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--model", default=ServingConfig.model, help="a classifier of torchvision")
    parser.add_argument("--checkpoint", type=Path, help="weights: .safetensors, or a file by torch.save")
    parser.add_argument("--weights", help="torchvision's own weights, such as IMAGENET1K_V1")
    parser.add_argument("--labels", type=Path, help="a file with one class name per line")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--cache-mb", type=float, default=ServingConfig.cache_mb, help="bound of the answer cache")
    parser.add_argument("--max-batch", type=int, default=ServingConfig.max_batch, help="images in one forward pass")
    parser.add_argument("--max-wait-ms", type=float, default=ServingConfig.max_wait_ms, help="to fill a batch")
    parser.add_argument("--max-queue", type=int, default=ServingConfig.max_queue, help="images that may wait")
    parser.add_argument("--max-body-mb", type=float, default=ServingConfig.max_body_mb)
    parser.add_argument("--max-pixels", type=int, default=ServingConfig.max_pixels, help="of all pictures of a request")
    parser.add_argument("--timeout-ms", type=float, default=ServingConfig.timeout_ms)
    parser.add_argument(
        "--i-trust-every-client",
        action="store_true",
        help="let the variants that read pickles listen on an address that other machines can reach",
    )
    options = parser.parse_args(arguments)
    trusted = is_loopback(options.host) or options.i_trust_every_client
    if PICKLE in VARIANTS[options.variant].accepts and not trusted:
        safe = " or ".join(name for name, variant in VARIANTS.items() if PICKLE not in variant.accepts)
        parser.error(
            f"{options.variant} reads pickles, which run any code of the sender, and other machines can reach "
            f"{options.host}: use 127.0.0.1, or {safe}, or --i-trust-every-client"
        )
    try:
        return options, ServingConfig(**{field.name: getattr(options, field.name) for field in fields(ServingConfig)})
    except ValueError as error:
        parser.error(str(error))


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM; return the exit status."""
    options, config = parse(arguments)
    from ..variant import UnsupportedError  # noqa: PLC0415 - likewise
    from . import VARIANTS  # noqa: PLC0415 - see above
    from .http.pickled import ANY_HOST  # noqa: PLC0415 - likewise
    from .http.server import Server, until_stopped  # noqa: PLC0415 - likewise

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("waitress").setLevel(logging.ERROR)  # it warns of full queues and of clients that disconnect
    variant = VARIANTS[options.variant]
    try:
        app = variant(config)
        app.config[ANY_HOST] = options.i_trust_every_client
        server = Server(app, options.host, options.port, round(config.max_body_mb * 2**20))
    except (ValueError, TypeError, OSError, UnsupportedError) as error:
        sys.exit(f"cannot start: {error}")
    address = f"http://{options.host}:{server.port}"
    service: Service | None = app.extensions.get("serving")
    if service:
        announcing = (options.variant, variant, service, server, address)
        threading.Thread(target=_announce_when_loaded, args=announcing, daemon=True).start()
    else:
        _announce(options.variant, variant, config.model, "float32", address)
    until_stopped(server)
    return 1 if service and service.failure else 0


def _announce_when_loaded(
    name: str, variant: "Variant[..., Any]", service: "Service", server: "Server", address: str
) -> None:
    """Print the address once the model is loaded; stop the server if it cannot be."""
    try:
        prepared = service.loaded()
    except Exception as error:  # noqa: BLE001 - every failure to load is printed here
        print(f"cannot start: {error}", file=sys.stderr, flush=True)
        server.stop()
        return
    agreement = "" if prepared.agreement is None else f" ({prepared.agreement:.1%} of 256 pictures as in float32)"
    _announce(name, variant, service.config.model, f"{prepared.precision}{agreement}", address)


def _announce(name: str, variant: "Variant[..., Any]", model: str, precision: str, address: str) -> None:
    print(f"{name} with {model} in {precision} at {address}/predict, for {', '.join(variant.accepts)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
