"""The Flask application in front of a `Service`: routes and metrics."""

import io
import time
from typing import IO, Any

from flask import Flask, Request, Response, g, request

from ..runtime.service import Service
from . import kserve
from .admission import client_gone, deadline_of, decoder_of
from .answers import predictions
from .asked import refuse_unknown
from .errors import ServingError
from .inputs import ACCEPTED
from .json_errors import json_application
from .openapi import description
from .strict import shown

__all__ = ["application"]

# The endpoints whose requests are counted, and the parameters in their query.
PARAMETERS = {"predict": ("top", "timeout_ms"), "kserve.infer": ("timeout_ms",)}


class InMemoryRequest(Request):
    """A request whose parts stay in memory; a malformed request would leave its temporary files open."""

    def _get_file_stream(self, *_arguments: Any, **_more: Any) -> IO[bytes]:
        return io.BytesIO()


def application(service: Service) -> Flask:
    """Return the application; its `extensions["serving"]` is the service."""
    app = json_application(__name__)
    app.request_class = InMemoryRequest
    app.extensions["serving"] = service
    app.config["MAX_CONTENT_LENGTH"] = round(service.config.max_body_mb * 2**20)
    app.register_blueprint(kserve.blueprint(service))
    _observe(app, service)
    refuse_unknown(app, PARAMETERS)

    @app.post("/predict")
    def predict() -> dict[str, Any]:
        deadline = deadline_of(service)
        labels = service.prepared.labels
        top = _top(len(labels))
        images = service.decoded(deadline, decoder_of(service).images, request)
        logits, cached = service.logits(images, deadline, client_gone())
        return {
            "success": True,
            "predictions": predictions(logits, labels, top),
            "model": service.config.model,
            "precision": service.prepared.precision,
            "cached": cached,
        }

    @app.get("/health")
    def health() -> tuple[dict[str, Any], int]:
        return {"alive": service.failure is None}, 200 if service.failure is None else 500

    @app.get("/ready")
    def ready() -> dict[str, Any]:
        service.expect_ready()
        return {**service.describe(), "accepts": list(ACCEPTED)}

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(service.metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/openapi.json")
    def openapi() -> dict[str, Any]:
        return description(service.config, len(service.prepared.labels))

    return app


def _top(classes: int) -> int:
    text = request.args.get("top", "1")
    top = int(text) if text.isascii() and text.isdigit() and len(text) < 9 and text[0] != "0" else 0
    if not 1 <= top <= classes:
        raise ServingError(400, f"top must be a whole number from 1 to {classes}, not {shown(repr(text))}")
    return top


def _observe(app: Flask, service: Service) -> None:
    @app.after_request
    def count(response: Response) -> Response:
        if request.endpoint in PARAMETERS:
            service.metrics.answered(str(response.status_code), time.perf_counter() - g.started)
        return response
