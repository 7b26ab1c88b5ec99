"""Run a variant: `python -m impl.serving NAME --model vit_l_32 --port 8000`."""

import argparse
import logging
import os
import shutil
import sys
import threading
from typing import TYPE_CHECKING, Any

from .arguments import OneLineParser, add_settings, config_of, expect_free, one_line, read_arguments
from .config import LIMITS, ServingConfig, is_loopback
from .places import use_writable_places

if TYPE_CHECKING:
    from ..variant import Variant
    from .http.server import Server
    from .runtime.service import Service


log = logging.getLogger(__name__)

# What only a server with a queue uses; the originals would ignore it.
OF_A_SERVICE = ("device", "precision", *(name for name in LIMITS if name != "max_body_mb"))


def parse(arguments: list[str] | None) -> tuple[argparse.Namespace, ServingConfig]:
    """Return the arguments, checked, and their configuration."""
    from . import VARIANTS  # noqa: PLC0415 - imports torch, which the import of this module need not wait for
    from .http.pickled import PICKLE  # noqa: PLC0415 - likewise

    # Without abbreviations: --i would be --i-trust-every-client.
    parser = OneLineParser(prog="python -m impl.serving", description=__doc__, allow_abbrev=False)
    parser.add_argument("variant", choices=VARIANTS)
    add_settings(parser)
    parser.add_argument(
        "--i-trust-every-client",
        action="store_true",
        help="let the variants that read pickles listen on an address that other machines can reach",
    )
    parser.add_argument(
        "--log-json", action="store_true", help="write the log as JSON: a line for each record and for each request"
    )
    options = read_arguments(parser, arguments)
    trusted = is_loopback(options.host) or options.i_trust_every_client
    if PICKLE in VARIANTS[options.variant].accepts and not trusted:
        safe = " or ".join(name for name, variant in VARIANTS.items() if PICKLE not in variant.accepts)
        parser.error(
            f"{options.variant} reads pickles, which run any code of the sender, and other machines can reach "
            f"{options.host}: use 127.0.0.1, or {safe}, or --i-trust-every-client"
        )
    config = config_of(parser, options)
    if PICKLE in VARIANTS[options.variant].accepts:
        for name in OF_A_SERVICE:
            if getattr(config, name) not in (getattr(ServingConfig, name), "float32"):
                parser.error(f"{options.variant} does not use --{name.replace('_', '-')}: leave it out")
    return options, config


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM; return the exit status."""
    options, config = parse(arguments)
    from . import VARIANTS  # noqa: PLC0415 - see above
    from .http.logs import log_to_stderr  # noqa: PLC0415 - likewise
    from .http.pickled import ANY_HOST  # noqa: PLC0415 - likewise
    from .http.server import Server, until_stopped  # noqa: PLC0415 - likewise

    log_to_stderr(as_json=options.log_json)
    logging.getLogger("waitress").setLevel(logging.ERROR)  # it warns of full queues and of clients that disconnect
    variant = VARIANTS[options.variant]
    try:
        temporary = use_writable_places()
        # An address that cannot be used is said at once, and not once the model is loaded.
        expect_free(options.host, options.port)
        app = variant(config)
        app.config[ANY_HOST] = options.i_trust_every_client
        server = Server(app, options.host, options.port, round(config.max_body_mb * 2**20))
    except Exception as error:  # noqa: BLE001 - every failure to start is printed here, in one line
        sys.exit(f"cannot start: {one_line(error)}")
    address = f"http://{f'[{options.host}]' if ':' in options.host else options.host}:{server.port}"
    service: Service | None = app.extensions.get("serving")
    if service:
        announcing = (options.variant, variant, service, server, address)
        threading.Thread(target=_announce_when_loaded, args=announcing, daemon=True).start()
    else:
        _announce(options.variant, variant, config.model, "float32", address)
    until_stopped(server)
    status = 1 if service and service.failure else 0
    if service and service.working:  # the interpreter would wait for its threads, however long they take
        log.warning("what was still loaded or decoded is given up")
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
        logging.shutdown()
        sys.stdout.flush()
        os._exit(status)
    return status


def _announce_when_loaded(
    name: str, variant: "Variant[..., Any]", service: "Service", server: "Server", address: str
) -> None:
    """Print the address once the model is loaded; stop the server if it cannot be."""
    try:
        prepared = service.loaded()
    except Exception as error:  # noqa: BLE001 - every failure to load is printed here
        print(f"cannot start: {one_line(error)}", file=sys.stderr, flush=True)
        server.stop()
        return
    agreement = "" if prepared.agreement is None else f" ({prepared.agreement:.1%} of 256 pictures as in float32)"
    _announce(name, variant, service.config.model, f"{prepared.precision}{agreement}", address)


def _announce(name: str, variant: "Variant[..., Any]", model: str, precision: str, address: str) -> None:
    print(f"{name} with {model} in {precision} at {address}/predict, for {', '.join(variant.accepts)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
