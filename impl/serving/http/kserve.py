"""The endpoints of KServe's Open Inference Protocol, version 2, with JSON and binary tensors.

https://github.com/kserve/open-inference-protocol; the binary extension is Triton's.
"""

import json
from typing import Any

import numpy as np
import torch
from flask import Blueprint, Response, request

from ..runtime.service import Service
from .errors import ServingError
from .inputs import finite, laid_out

__all__ = ["blueprint"]

DTYPES = {"UINT8": "uint8", "FP32": "float32"}
BINARY = "Inference-Header-Content-Length"
OUTPUT = "probabilities"


def blueprint(service: Service) -> Blueprint:  # noqa: C901 - a list of endpoints
    """Return the endpoints of one service."""
    routes = Blueprint("kserve", __name__)
    name = service.config.model

    def known(model: str, version: str) -> None:
        if model != name or version != "1":
            raise ServingError(404, f"there is no such model; this server has {name}, version 1")

    @routes.get("/v2")
    def server() -> dict[str, Any]:
        return {"name": "serving", "version": "1", "extensions": ["binary_tensor_data"]}

    @routes.get("/v2/health/live")
    def live() -> tuple[dict[str, Any], int]:
        return {"live": service.failure is None}, 200 if service.failure is None else 500

    @routes.get("/v2/health/ready")
    def ready() -> tuple[dict[str, Any], int]:
        return {"ready": service.ready}, 200 if service.ready else 503

    @routes.get("/v2/models/<model>/ready", defaults={"version": "1"})
    @routes.get("/v2/models/<model>/versions/<version>/ready")
    def model_ready(model: str, version: str) -> tuple[dict[str, Any], int]:
        known(model, version)
        return {"name": name, "ready": service.ready}, 200 if service.ready else 503

    @routes.get("/v2/models/<model>", defaults={"version": "1"})
    @routes.get("/v2/models/<model>/versions/<version>")
    def metadata(model: str, version: str) -> dict[str, Any]:
        known(model, version)
        found = service.prepared
        return {
            "name": name,
            "versions": ["1"],
            "platform": "pytorch",
            "inputs": [{"name": "images", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}],
            "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, len(found.labels)]}],
        }

    @routes.post("/v2/models/<model>/infer", defaults={"version": "1"})
    @routes.post("/v2/models/<model>/versions/<version>/infer")
    def infer(model: str, version: str) -> Response:
        known(model, version)
        deadline = service.admit(request)
        asked, images = service.decoded(_read, service)
        wanted = _binary_output(asked)
        logits, cached = service.logits(images, request, deadline)
        probabilities = torch.softmax(logits, dim=1).numpy()
        output: dict[str, Any] = {"name": OUTPUT, "datatype": "FP32", "shape": list(probabilities.shape)}
        answer: dict[str, Any] = {
            "model_name": name,
            "model_version": "1",
            "parameters": {"cached": cached, "precision": service.prepared.precision},
            "outputs": [output],
        }
        if "id" in asked:
            answer["id"] = str(asked["id"])
        if not wanted:
            output["data"] = probabilities.ravel().tolist()
            return Response(json.dumps(answer), content_type="application/json")
        raw = probabilities.astype("<f4").tobytes()
        output["parameters"] = {"binary_data_size": len(raw)}
        head = json.dumps(answer).encode()
        return Response(head + raw, content_type="application/octet-stream", headers={BINARY: str(len(head))})

    return routes


def _read(service: Service) -> tuple[dict[str, Any], torch.Tensor]:
    """Return the JSON of the request, and its images."""
    body = request.get_data(cache=False)
    told = request.headers.get(BINARY)
    length = len(body)
    if told is not None:
        length = int(told) if told.isascii() and told.isdigit() and len(told) < 12 else -1
        if not 0 < length <= len(body):
            raise ServingError(400, f"{BINARY} is {told[:20]!r}, and the body has {len(body)} bytes")
    try:
        asked = json.loads(body[:length])
    except (ValueError, RecursionError) as error:
        raise ServingError(400, "the request is not JSON") from error
    if not isinstance(asked, dict):
        raise ServingError(400, "the request is JSON, and no object")
    return asked, _images(asked, body[length:], service)


def _images(asked: dict[str, Any], binary: bytes, service: Service) -> torch.Tensor:
    inputs = asked.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise ServingError(422, "there must be one input, a tensor of images")
    (tensor,) = inputs
    shape, datatype = tensor.get("shape"), tensor.get("datatype")
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise ServingError(422, "the shape must be a list of whole numbers")
    dtype = DTYPES.get(datatype) if isinstance(datatype, str) else None
    if dtype is None:
        raise ServingError(422, f"the datatype must be one of {', '.join(DTYPES)}")
    service.decoder.count(laid_out(tuple(shape), dtype, "the input"))
    wanted = int(np.prod(shape, dtype=object))
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    told = tensor.get("data")
    values = _listed(told, dtype, wanted) if size is None else _binary(binary, size, dtype, wanted)
    images = service.decoder.array(values.reshape(shape), "the input")
    return finite(images, "the input") if dtype == "float32" else images


def _binary(binary: bytes, size: object, dtype: str, wanted: int) -> Any:
    kind = np.dtype(dtype).newbyteorder("<")
    if size != len(binary) or wanted * kind.itemsize != len(binary):
        raise ServingError(
            400, f"the input says {wanted} values of {dtype} and {size!r:.20} bytes; there are {len(binary)} bytes"
        )
    return np.frombuffer(binary, kind)


def _listed(data: object, dtype: str, wanted: int) -> Any:
    if not isinstance(data, list):
        raise ServingError(422, "the input has no data")
    try:
        values = np.array(data)
    except (ValueError, OverflowError, RecursionError) as error:
        raise ServingError(422, "the data are of different lengths, or too deep") from error
    if values.size != wanted:
        raise ServingError(422, f"the shape says {wanted} values, and there are {values.size}")
    if values.dtype.kind not in "iuf" or (dtype == "uint8" and values.dtype.kind == "f"):
        raise ServingError(422, f"the data are not all numbers of {dtype}")
    if dtype == "uint8" and (values.min() < 0 or values.max() > 255):
        raise ServingError(422, "some of the data are not in 0 .. 255")
    with np.errstate(over="ignore"):  # what is too great becomes infinite, and that is refused
        return values.astype(dtype)


def _binary_output(asked: dict[str, Any]) -> bool:
    """Say whether the output is asked for in binary: for all outputs, or for the one there is."""
    found = asked.get("parameters")
    wanted = isinstance(found, dict) and found.get("binary_data_output") is True
    outputs = asked.get("outputs")
    for output in outputs if isinstance(outputs, list) else []:
        if not isinstance(output, dict) or output.get("name") != OUTPUT:
            raise ServingError(422, f"the only output is {OUTPUT!r}")
        parameters = output.get("parameters")
        if isinstance(parameters, dict) and "binary_data" in parameters:
            wanted = parameters["binary_data"] is True
    return wanted
