"""Run a variant: `python -m impl.serving optimised --model vit_l_32 --port 8000`."""

import argparse
import logging
import sys
import threading
from dataclasses import fields
from pathlib import Path

from .config import PRECISIONS, ServingConfig, is_loopback


def parse(arguments: list[str] | None) -> tuple[argparse.Namespace, ServingConfig]:
    """Return the arguments, checked, and the configuration they make."""
    from . import VARIANTS  # noqa: PLC0415 - takes torch with it, which --help need not wait for

    parser = argparse.ArgumentParser(prog="python -m impl.serving", description=__doc__)
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--model", default=ServingConfig.model, help="a classifier of torchvision's")
    parser.add_argument("--checkpoint", type=Path, help="weights: .safetensors, or a file by torch.save")
    parser.add_argument("--weights", help="torchvision's own weights, such as IMAGENET1K_V1")
    parser.add_argument("--labels", type=Path, help="a file with one class name a line")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--cache-mb", type=float, default=ServingConfig.cache_mb, help="remember answers within this")
    parser.add_argument("--max-batch", type=int, default=ServingConfig.max_batch, help="images in one forward pass")
    parser.add_argument("--max-wait-ms", type=float, default=ServingConfig.max_wait_ms)
    parser.add_argument("--max-queue", type=int, default=ServingConfig.max_queue, help="images that may wait")
    parser.add_argument("--max-body-mb", type=float, default=ServingConfig.max_body_mb)
    parser.add_argument("--max-pixels", type=int, default=ServingConfig.max_pixels, help="of one picture")
    parser.add_argument("--timeout-ms", type=float, default=ServingConfig.timeout_ms)
    parser.add_argument(
        "--i-trust-every-client",
        action="store_true",
        help="let the variants that read pickles listen on an address that others can reach",
    )
    options = parser.parse_args(arguments)
    if options.variant != "optimised" and not (is_loopback(options.host) or options.i_trust_every_client):
        parser.error(
            f"{options.variant} reads pickles, which run whatever a client wrote in them, and {options.host} can be "
            "reached from other machines: use 127.0.0.1, or optimised, or --i-trust-every-client"
        )
    try:
        return options, ServingConfig(**{field.name: getattr(options, field.name) for field in fields(ServingConfig)})
    except ValueError as error:
        parser.error(str(error))


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM; return the exit status."""
    options, config = parse(arguments)
    from . import VARIANTS  # noqa: PLC0415 - see above
    from .http.server import Server, until_stopped  # noqa: PLC0415 - likewise

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("waitress").setLevel(logging.ERROR)  # queues and clients that leave are daily business
    try:
        app = VARIANTS[options.variant](config)
        server = Server(app, options.host, options.port, round(config.max_body_mb * 2**20))
    except (ValueError, TypeError, OSError) as error:
        sys.exit(f"cannot start: {error}")
    address = f"http://{options.host}:{server.port}"
    if service := app.extensions.get("serving"):
        threading.Thread(target=_announce, args=(service, server, address), daemon=True).start()
    else:
        print(f"{options.variant} with {config.model} in float32 at {address}/predict, for pickles", flush=True)
    until_stopped(server)
    return 1 if service and service.failure else 0


def _announce(service: object, server: object, address: str) -> None:
    """Say what is served when it is; end the server when it cannot be."""
    try:
        found = service.loaded()  # type: ignore[attr-defined] # imported late
    except Exception as error:  # noqa: BLE001 - whatever it is, this is where it is told
        print(f"cannot start: {error}", file=sys.stderr, flush=True)
        server.stop()  # type: ignore[attr-defined] # likewise
        return
    accepts = ", ".join(service.describe()["accepts"])  # type: ignore[attr-defined] # likewise
    agreement = "" if found.agreement is None else f" ({found.agreement:.1%} of 256 pictures as in float32)"
    print(
        f"optimised with {service.config.model} in {found.precision}{agreement} at {address}/predict, for {accepts}",  # type: ignore[attr-defined] # likewise
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
