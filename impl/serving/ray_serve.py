"""Serving on Ray Serve: `python -m impl.serving.ray_serve --model vit_l_32 --replicas 2`.

Clients see the application of `optimised`: the same routes, inputs, refusals and answers. Behind it, two deployments:

- `Http` decodes requests. It keeps the answer cache, if there is one, and the application's `/metrics`.
- `Model` has the model in each of its replicas, and runs requests together that wait together.

What `optimised` does with a thread and a queue of its own is Ray's work here: batches (`serve.batch`, which counts
images), replicas and their restarts, the queue and its limit, and cancelling requests that no client waits for.

What differs from `python -m impl.serving optimised`:

- `--max-queue` counts requests, of each `Http` replica, and not images. Further ones get status 429 as there, but only
  once they are decoded. Beside those, a replica of `Model` holds requests for two batches.
- `serve.batch` waits `--max-wait-ms` for every batch, also for a lone client's.
- Ray's proxy reads HTTP. What it does not understand it answers by itself, without JSON, and connections are not closed
  by age.
- `/metrics` has no forward passes: Ray's own metrics do.
- A lost replica is started anew by Ray. A request that it was running gets status 500.

What it costs is in METHODOLOGY, under "Ray Serve".
"""

import os
import signal
import sys
import threading
from functools import partial
from typing import Any

from ..shared.cores import usable_cores
from ..shared.on_ray import ray_serve, start_ray
from ..variant import UnsupportedError
from .arguments import OneLineParser, add_settings, config_of, expect_free, one_line, read_arguments
from .config import ServingConfig
from .http.app import application
from .model.classifiers import builder
from .runtime.remote import RemoteQueue, described
from .runtime.replica import Model
from .runtime.service import Service

__all__ = ["deployed", "main"]


class Http:
    """The deployment that answers HTTP."""

    def __init__(self, config: ServingConfig, model: Any, requests: int) -> None:
        """Wait for the model; if it cannot be loaded, the deployment fails.

        Args:
            config: The settings.
            model: Ray's handle of `Model`.
            requests: How many requests are handled at once, each in a thread.
        """
        self._requests = requests
        self._service = Service(config, partial(described, model), partial(RemoteQueue, model))
        self._service.loaded()

    def __serve_build_asgi_app__(self) -> Any:
        """Return the application for Ray, which calls this once."""
        from a2wsgi import WSGIMiddleware  # noqa: PLC0415 - an optional extra

        return WSGIMiddleware(application(self._service), workers=self._requests)  # type: ignore[arg-type] # of another typing of WSGI


def deployed(config: ServingConfig, replicas: int = 1, cores: int | None = None) -> Any:
    """Return the application for `ray.serve.run`.

    Args:
        config: The settings; `max_queue` and `max_batch` become Ray's limits.
        replicas: Of `Model`.
        cores: Of each; by default these replicas share the usable cores of this machine.

    Raises:
        UnsupportedError: Ray Serve is not installed.
    """
    serve = ray_serve()
    cores = cores or max(1, usable_cores() // replicas)
    model = serve.deployment(Model).options(
        num_replicas=replicas,
        max_ongoing_requests=2 * config.max_batch,  # while a batch runs, the next one gathers
        max_queued_requests=config.max_queue,
        ray_actor_options={"num_cpus": cores, "num_gpus": int(config.device != "cpu")},
    )
    # Twice as many as may wait and run, so that the application refuses the others, with its own status and reason.
    requests = 2 * (2 * replicas * config.max_batch + config.max_queue)
    http = serve.deployment(serve.ingress()(Http)).options(
        max_ongoing_requests=requests, ray_actor_options={"num_cpus": 0}
    )
    return http.bind(config, model.bind(config, cores), requests)


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM; return the exit status."""
    parser = OneLineParser(prog="python -m impl.serving.ray_serve", description=__doc__, allow_abbrev=False)
    add_settings(parser)
    parser.add_argument("--replicas", type=int, default=1, help="of the model")
    options = read_arguments(parser, arguments)
    # On this machine each replica needs a core; Ray would wait for more without end.
    most = None if "RAY_ADDRESS" in os.environ else usable_cores()
    if options.replicas < 1 or (most is not None and options.replicas > most):
        limit = "" if most is None else f" and at most {most}, the usable cores"
        parser.error(f"--replicas must be at least 1{limit}, not {options.replicas}")
    if options.port == 0:
        parser.error("--port must be at least 1: Ray Serve does not say which free port it takes")
    config = config_of(parser, options)
    stop = threading.Event()
    try:
        serve = ray_serve()
        # What cannot work ends the start here, in one line, and not in a process of Ray's.
        expect_free(options.host, options.port)
        builder(config.model)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: stop.set())
        start_ray()
        serve.start(http_options={"host": options.host, "port": options.port})
        serve.run(deployed(config, options.replicas), name="serving")
        print(f"{config.model} on Ray at http://{options.host}:{options.port}/predict", flush=True)
        stop.wait()
        serve.shutdown()
    except (UnsupportedError, OSError, RuntimeError, ValueError) as error:
        sys.exit(f"cannot start: {one_line(error)}")
    return 0


if __name__ == "__main__":
    # By its own name: the workers could not import what is defined in `__main__`.
    from impl.serving.ray_serve import main as main_by_name

    sys.exit(main_by_name())
