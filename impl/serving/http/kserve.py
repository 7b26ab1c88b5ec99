"""KServe's Open Inference Protocol, version 2, with JSON and binary tensors.

https://github.com/kserve/open-inference-protocol; the binary extension is Triton's.
"""

import json
from typing import Any

import numpy as np
import torch
from flask import Blueprint, Response, request

from ..runtime.service import Service
from .admission import client_gone, deadline_of, decoder_of
from .errors import ServingError
from .inputs import Decoder, finite, image_count

__all__ = ["blueprint"]

DTYPES = {"UINT8": "uint8", "FP32": "float32"}
BINARY = "Inference-Header-Content-Length"
OUTPUT = "probabilities"


def blueprint(service: Service) -> Blueprint:  # noqa: C901 - a list of endpoints
    """Return the endpoints of one service."""
    routes = Blueprint("kserve", __name__)
    name = service.config.model

    def expect_model(model: str, version: str) -> None:
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
        expect_model(model, version)
        return {"name": name, "ready": service.ready}, 200 if service.ready else 503

    @routes.get("/v2/models/<model>", defaults={"version": "1"})
    @routes.get("/v2/models/<model>/versions/<version>")
    def metadata(model: str, version: str) -> dict[str, Any]:
        expect_model(model, version)
        labels = service.prepared.labels
        return {
            "name": name,
            "versions": ["1"],
            "platform": "pytorch",
            "inputs": [{"name": "images", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}],
            "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, len(labels)]}],
        }

    @routes.post("/v2/models/<model>/infer", defaults={"version": "1"})
    @routes.post("/v2/models/<model>/versions/<version>/infer")
    def infer(model: str, version: str) -> Response:
        expect_model(model, version)
        deadline = deadline_of(service)
        inference, images = service.decoded(_read, decoder_of(service))
        binary_output = _wants_binary(inference)
        logits, cached = service.logits(images, deadline, client_gone())
        probabilities = torch.softmax(logits, dim=1).numpy()
        output: dict[str, Any] = {"name": OUTPUT, "datatype": "FP32", "shape": list(probabilities.shape)}
        answer: dict[str, Any] = {
            "model_name": name,
            "model_version": "1",
            "parameters": {"cached": cached, "precision": service.prepared.precision},
            "outputs": [output],
        }
        if "id" in inference:
            answer["id"] = str(inference["id"])
        if not binary_output:
            output["data"] = probabilities.ravel().tolist()
            return Response(json.dumps(answer), content_type="application/json")
        raw = probabilities.astype("<f4").tobytes()
        output["parameters"] = {"binary_data_size": len(raw)}
        head = json.dumps(answer).encode()
        return Response(head + raw, content_type="application/octet-stream", headers={BINARY: str(len(head))})

    return routes


def _read(decoder: Decoder) -> tuple[dict[str, Any], torch.Tensor]:
    """Return the JSON of the current request, and its images."""
    body = request.get_data(cache=False)
    header = request.headers.get(BINARY)
    length = len(body)
    if header is not None:
        length = int(header) if header.isascii() and header.isdigit() and len(header) < 12 else -1
        if not 0 < length <= len(body):
            raise ServingError(400, f"{BINARY} is {header[:20]!r}, and the body has {len(body)} bytes")
    try:
        inference = json.loads(body[:length])
    except (ValueError, RecursionError) as error:
        raise ServingError(400, "the request is not JSON") from error
    if not isinstance(inference, dict):
        raise ServingError(400, "the request is JSON, but not an object")
    return inference, _images(inference, body[length:], decoder)


def _images(inference: dict[str, Any], binary: bytes, decoder: Decoder) -> torch.Tensor:
    inputs = inference.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise ServingError(422, "there must be one input, a tensor of images")
    (tensor,) = inputs
    shape, datatype = tensor.get("shape"), tensor.get("datatype")
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise ServingError(422, "the shape must be a list of whole numbers")
    dtype = DTYPES.get(datatype) if isinstance(datatype, str) else None
    if dtype is None:
        raise ServingError(422, f"the datatype must be one of {', '.join(DTYPES)}")
    decoder.check_count(image_count(tuple(shape), dtype, "the input"))
    count = int(np.prod(shape, dtype=object))
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    data = tensor.get("data")
    values = _from_json(data, dtype, count) if size is None else _from_binary(binary, size, dtype, count)
    images = decoder.array(values.reshape(shape), "the input")
    return finite(images, "the input") if dtype == "float32" else images


def _from_binary(binary: bytes, size: object, dtype: str, count: int) -> Any:
    """Return `count` values of the bytes behind the JSON."""
    little_endian = np.dtype(dtype).newbyteorder("<")
    if size != len(binary) or count * little_endian.itemsize != len(binary):
        raise ServingError(
            400, f"the input says {count} values of {dtype} and {size!r:.20} bytes; there are {len(binary)} bytes"
        )
    return np.frombuffer(binary, little_endian)


def _from_json(data: object, dtype: str, count: int) -> Any:
    """Return `count` values of a JSON list, flat or nested."""
    if not isinstance(data, list):
        raise ServingError(422, "the input has no data")
    try:
        values = np.array(data)
    except (ValueError, OverflowError, RecursionError) as error:
        raise ServingError(422, "the data are of different lengths, or nested too deeply") from error
    if values.size != count:
        raise ServingError(422, f"the shape says {count} values, and there are {values.size}")
    if values.dtype.kind not in "iuf" or (dtype == "uint8" and values.dtype.kind == "f"):
        raise ServingError(422, f"the data are not all numbers of {dtype}")
    if dtype == "uint8" and (values.min() < 0 or values.max() > 255):
        raise ServingError(422, "some of the data are not in 0 .. 255")
    with np.errstate(over="ignore"):  # numbers beyond float32 become infinite, and those are refused
        return values.astype(dtype)


def _wants_binary(inference: dict[str, Any]) -> bool:
    """Return whether the client wants the output in binary: by the request's parameters, or by the output's own."""
    parameters = inference.get("parameters")
    wanted = isinstance(parameters, dict) and parameters.get("binary_data_output") is True
    outputs = inference.get("outputs")
    for output in outputs if isinstance(outputs, list) else []:
        if not isinstance(output, dict) or output.get("name") != OUTPUT:
            raise ServingError(422, f"the only output is {OUTPUT!r}")
        parameters = output.get("parameters")
        if isinstance(parameters, dict) and "binary_data" in parameters:
            wanted = parameters["binary_data"] is True
    return wanted
