"""KServe's Open Inference Protocol, version 2, with JSON and binary tensors.

https://github.com/kserve/open-inference-protocol; the extensions, for binary tensors, the model's configuration and
statistics, are Triton's. gRPC, several models, and loading one while the server runs are not offered.
"""

import json
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request

from ..runtime.service import Service
from .admission import client_gone, deadline_of, decoder_of
from .answers import probabilities_of
from .described import EXTENSIONS, VERSION, configuration, metadata, statistics
from .errors import ServingError
from .inputs import Decoder
from .strict import shown
from .tensors import BINARY, OUTPUT, Inference, read_inference

__all__ = ["blueprint"]


def blueprint(service: Service) -> Blueprint:  # noqa: C901 - a list of endpoints
    """Return the endpoints of one service."""
    routes = Blueprint("kserve", __name__)
    name = service.config.model

    def expect_model(model: str, version: str) -> None:
        if model != name or version != VERSION:
            raise ServingError(404, f"there is no such model; this server has {name}, version {VERSION}")

    def of_the_model(path: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
        """Route a path below the model's, and below its version's, to a function."""

        def route(answer: Callable[[], Any]) -> Callable[[], Any]:
            @routes.get(f"/v2/models/<model>{path}", defaults={"version": VERSION}, endpoint=answer.__name__)
            @routes.get(f"/v2/models/<model>/versions/<version>{path}", endpoint=answer.__name__)
            def checked(model: str, version: str) -> Any:
                expect_model(model, version)
                return answer()

            return answer

        return route

    @routes.get("/v2")
    def server() -> dict[str, Any]:
        return {"name": "serving", "version": VERSION, "extensions": list(EXTENSIONS)}

    @routes.get("/v2/health/live")
    def live() -> tuple[dict[str, Any], int]:
        return {"live": service.failure is None}, 200 if service.failure is None else 500

    @routes.get("/v2/health/ready")
    def ready() -> tuple[dict[str, Any], int]:
        return {"ready": service.ready}, 200 if service.ready else 503

    @of_the_model("/ready")
    def model_ready() -> tuple[dict[str, Any], int]:
        return {"name": name, "ready": service.ready}, 200 if service.ready else 503

    @of_the_model("")
    def model_metadata() -> dict[str, Any]:
        return metadata(service)

    @of_the_model("/config")
    def model_configuration() -> dict[str, Any]:
        return configuration(service)

    @of_the_model("/stats")
    def model_statistics() -> dict[str, Any]:
        return {"model_stats": [statistics(service)]}

    @routes.get("/v2/models/stats")
    def all_statistics() -> dict[str, Any]:
        return {"model_stats": [statistics(service)]}

    @routes.post("/v2/models/<model>/infer", defaults={"version": VERSION})
    @routes.post("/v2/models/<model>/versions/<version>/infer")
    def infer(model: str, version: str) -> Response:
        expect_model(model, version)
        deadline = deadline_of(service)
        inference = service.decoded(deadline, _read, decoder_of(service))
        logits, cached = service.logits(inference.images, deadline, client_gone())
        probabilities = probabilities_of(logits).numpy()
        output: dict[str, Any] = {"name": OUTPUT, "datatype": "FP32", "shape": list(probabilities.shape)}
        answer: dict[str, Any] = {
            "model_name": name,
            "model_version": VERSION,
            "parameters": {"cached": cached, "precision": service.prepared.precision},
            "outputs": [output],
        }
        if inference.id is not None:
            answer["id"] = inference.id
        if not inference.binary_output:
            output["data"] = probabilities.ravel().tolist()
            return Response(json.dumps(answer), content_type="application/json")
        raw = probabilities.astype("<f4").tobytes()
        output["parameters"] = {"binary_data_size": len(raw)}
        head = json.dumps(answer).encode()
        return Response(head + raw, content_type="application/octet-stream", headers={BINARY: str(len(head))})

    return routes


def _read(decoder: Decoder) -> Inference:
    """Return what the current request asks for."""
    body = request.get_data(cache=False)
    header = request.headers.get(BINARY)
    length = len(body)
    if header is not None:
        length = int(header) if header.isascii() and header.isdigit() and len(header) < 12 else -1
        if not 0 < length <= len(body):
            raise ServingError(400, f"{BINARY} is {shown(repr(header))}, and the body has {len(body)} bytes")
    return read_inference(body[:length], body[length:], decoder)
