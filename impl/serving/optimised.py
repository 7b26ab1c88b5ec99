"""One model, one thread that runs it, and a bounded queue of images in front of it.

Why it is faster than `preloaded`:

- The precision: int8 where the processor has VNNI, bfloat16 where it has that, float32 through oneDNN elsewhere; see
  `int8`, `vit` and `precision`. A matrix product reaches 1,720, 857 and 339 GFLOP/s; `preloaded` runs at 166.
- In int8 a forward pass is one compiled function of our own, without the interpreter, in which a core runs alone or all
  of them share an image (`kernels`).
- Requests that wait together run together (`batching`), each core with images of its own (`engine`).
- Pictures travel as they are, 32 x 32, and are resized here: 64 images are 0.2 MB instead of 38.5, and nothing is
  unpickled (`inputs`).
- The allocator keeps what is freed and hands nothing back (`engine`).
- It starts from weights that were laid out before, mapped into memory (`precision`).

What it costs: int8 answers are not float32's to the last digit, and up to 3 % of top-1 answers may differ; a first
start that compares the two; and some 1,600 lines.

The limit: an image takes 15.4 G multiply-adds in ViT-L/32, 30.8 GFLOP, and the two cores do 1,860 GFLOP/s at most,
from their caches: 16.6 ms for one image, 1.06 s for 64. One takes 20.5 in the model: products 17.7, at 1,700 GFLOP/s
although their weights come from memory, attention 1.5, the rest 1.2; decoding, HTTP and its client take another 2.7.
64 take 1.29 to 1.33 s.

Tried, and no faster (AMD EPYC (Zen 5), 2 cores, torch 2.15, 2026-11-23): oneDNN's products of a single image took 24 ms
instead of 17.7, whether weights were laid out for 50 rows or for a chunk's, with bfloat16 out, with huge pages or with
OpenMP threads that spin for longer; blocks of 5 by 64 and of 6 by 64 instead of 10 by 32; weights fetched into the
second cache only; for 32 clients, with oneDNN, passes of at most 16 or 32 images (1.82 and 1.80 s, and 1.87 of 64).
"""

import io
from typing import IO, Any

from flask import Flask, Request, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from .config import ServingConfig
from .http import kserve
from .http.answers import predictions
from .http.errors import ServingError
from .runtime.service import Service

__all__ = ["build"]

COUNTED = ("predict", "kserve.infer")


class InMemory(Request):
    """A request whose parts are kept in memory, not in temporary files, which a damaged one would leave open."""

    def _get_file_stream(self, *_arguments: Any, **_more: Any) -> IO[bytes]:
        return io.BytesIO()


def build(config: ServingConfig) -> Flask:
    """Return the application; its `extensions["serving"]` is the `Service`, which is loading the model already."""
    service = Service(config)
    app = Flask(__name__, static_folder=None)
    app.request_class = InMemory
    app.extensions["serving"] = service
    app.config["MAX_CONTENT_LENGTH"] = round(config.max_body_mb * 2**20)
    app.register_blueprint(kserve.blueprint(service))
    _observe(app, service)
    _report_errors(app)

    @app.post("/predict")
    def predict() -> dict[str, Any]:
        deadline = service.admit(request)
        images = service.decoded(service.decoder.images, request)
        top = _top(len(service.prepared.labels))
        logits, cached = service.logits(images, request, deadline)
        return {
            "success": True,
            "predictions": predictions(logits, service.prepared.labels, top),
            "model": config.model,
            "precision": service.prepared.precision,
            "cached": cached,
        }

    @app.get("/health")
    def health() -> tuple[dict[str, Any], int]:
        return {"alive": service.failure is None}, 200 if service.failure is None else 500

    @app.get("/ready")
    def ready() -> tuple[dict[str, Any], int]:
        if service.draining:
            raise ServingError(503, "the server is draining")
        return service.describe(), 200

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(service.metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8")

    return app


def _top(classes: int) -> int:
    asked = request.args.get("top", "1")
    top = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 9 else 0
    if not 1 <= top <= classes:
        raise ServingError(400, f"top must be a whole number from 1 to {classes}, not {asked[:40]!r}")
    return top


def _observe(app: Flask, service: Service) -> None:
    @app.before_request
    def start() -> None:
        g.timer = service.metrics.seconds.time()
        g.timer.__enter__()

    @app.after_request
    def count(response: Response) -> Response:
        if request.endpoint in COUNTED:
            g.timer.__exit__(None, None, None)
            service.metrics.requests.labels(str(response.status_code)).inc()
        return response


def _report_errors(app: Flask) -> None:
    @app.errorhandler(ServingError)
    def told(error: ServingError) -> Response:
        return _error(error.status, error.reason, error.retry_after)

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        response = _error(error.code or 500, error.description or error.name)
        for name, value in error.get_headers():
            if name == "Allow":
                response.headers[name] = value
        return response

    @app.errorhandler(Exception)
    def failed(error: Exception) -> Response:
        app.logger.error("a request failed", exc_info=error)
        return _error(500, "the server failed; its log says how")


def _error(status: int, reason: str, retry_after: float | None = None) -> Response:
    response = jsonify(success=False, error=reason)
    response.status_code = status
    if retry_after is not None:
        response.headers["Retry-After"] = str(max(1, round(retry_after)))
    return response
