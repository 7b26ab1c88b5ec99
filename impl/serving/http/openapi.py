"""The server's own description, OpenAPI 3.1: what `GET /openapi.json` answers."""

from typing import Any

from ..config import ServingConfig
from .described import VERSION
from .logs import REQUEST_ID
from .tensors import BINARY, DTYPES, INPUT, LONGEST_ID, OUTPUT

__all__ = ["description"]

Schema = dict[str, Any]

REASONS = {
    400: "damaged, empty or malformed",
    404: "no such model, version or path",
    405: "another method",
    408: "the request did not arrive in time",
    413: "too many bytes, pixels or images",
    415: "a type or an encoding that is not accepted",
    422: "a wrong shape, type or value",
    429: "too many requests wait",
    431: "too long a header",
    500: "the server failed; its log has the reason",
    503: "not ready: loading, draining, or the model is lost",
    504: "the deadline passed",
}
OF_A_BODY = (400, 405, 408, 413, 415, 422, 429, 431, 500, 503, 504)
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
YES: Schema = {"type": "boolean"}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}


def _object(required: dict[str, Schema], **optional: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": required | optional}


def _list(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def _of(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _answer(schema: Schema, kind: str = "application/json", what: str = "the answer") -> Schema:
    headers = {REQUEST_ID: {"description": "the id of the request in the log", "schema": TEXT}}
    return {"description": what, "headers": headers, "content": {kind: {"schema": schema}}}


def _operation(summary: str, schema: Schema, *errors: int, **more: Any) -> Schema:
    responses: Schema = {"200": _answer(schema)}
    for status in errors:
        responses[str(status)] = {
            "description": REASONS[status],
            "content": {"application/json": {"schema": _of("Error")}},
        }
    return {"summary": summary, "responses": responses, **more}


def _get(summary: str, schema: Schema, *errors: int) -> Schema:
    return {"get": _operation(summary, schema, *errors, 405, 415)}


def _query(name: str, summary: str, **schema: Any) -> Schema:
    return {"name": name, "in": "query", "description": summary, "schema": schema}


def _schemas() -> dict[str, Schema]:
    entry = {"index": COUNT, "label": TEXT, "probability": SHARE}
    tensor = _object(
        {
            "name": {"const": INPUT},
            "shape": _list(COUNT, minItems=4, maxItems=4),
            "datatype": {"enum": list(DTYPES)},
        },
        data=_list({"anyOf": [{"type": "number"}, {"type": "array"}]}),
        parameters=_object({}, binary_data_size=COUNT),
    )
    output = _object({"name": {"const": OUTPUT}}, parameters=_object({}, binary_data=YES))
    duration = _object({"count": COUNT, "ns": COUNT})
    return {
        "Error": _object({"error": TEXT}, success={"const": False}),
        "Predictions": _object(
            {
                "success": {"const": True},
                "predictions": _list(_object(entry, top=_list(_object(entry)))),
                "model": TEXT,
                "precision": TEXT,
                "cached": YES,
            }
        ),
        "InferRequest": _object(
            {"inputs": _list(tensor, minItems=1, maxItems=1)},
            id={"type": "string", "maxLength": LONGEST_ID},
            outputs=_list(output, maxItems=1),
            parameters=_object({}, binary_data_output=YES),
        ),
        "InferResponse": _object(
            {
                "model_name": TEXT,
                "model_version": {"const": VERSION},
                "outputs": _list(
                    _object(
                        {
                            "name": {"const": OUTPUT},
                            "datatype": {"const": "FP32"},
                            "shape": _list(COUNT, minItems=2, maxItems=2),
                        },
                        data=_list(SHARE),
                        parameters={"type": "object"},
                    ),
                    minItems=1,
                    maxItems=1,
                ),
            },
            id=TEXT,
            parameters=_object({"cached": YES, "precision": TEXT}),
        ),
        "Statistics": _object(
            {
                "model_stats": _list(
                    _object(
                        {
                            "name": TEXT,
                            "version": TEXT,
                            "last_inference": COUNT,
                            "inference_count": COUNT,
                            "execution_count": COUNT,
                            "inference_stats": {"type": "object", "additionalProperties": duration},
                            "batch_stats": _list({"type": "object"}),
                        }
                    ),
                    minItems=1,
                    maxItems=1,
                )
            }
        ),
    }


def description(config: ServingConfig, classes: int) -> Schema:
    """Return the description of a server with this configuration, whose model has so many classes."""
    model = f"/v2/models/{config.model}"
    timeout = _query("timeout_ms", "the deadline of this request, in ms", type="number", exclusiveMinimum=0)
    top = _query("top", "classes per image", type="integer", minimum=1, maximum=classes)
    binary = {"type": "string", "contentMediaType": "application/octet-stream"}
    body = {
        "required": True,
        "content": {
            "image/jpeg": {"schema": binary},
            "image/png": {"schema": binary},
            "application/x-npy": {"schema": binary},
            "application/safetensors": {"schema": binary},
            "multipart/form-data": {"schema": {"type": "object", "additionalProperties": binary}},
        },
    }
    infer = {
        "required": True,
        "content": {
            "application/json": {"schema": _of("InferRequest")},
            "application/octet-stream": {"schema": binary},
        },
    }
    length = {"name": BINARY, "in": "header", "description": "bytes of JSON before binary tensors", "schema": COUNT}
    health, any_object = _object({}, alive=YES, live=YES, ready=YES), {"type": "object"}
    text = _answer(TEXT, "text/plain", "in Prometheus' text format")
    return {
        "openapi": "3.1.0",
        "info": {"title": f"{config.model} over HTTP", "version": VERSION},
        "paths": {
            "/predict": {
                "post": _operation(
                    "Classify pictures", _of("Predictions"), *OF_A_BODY, requestBody=body, parameters=[top, timeout]
                )
            },
            f"{model}/infer": {
                "post": _operation(
                    "Classify a tensor of pictures, by the Open Inference Protocol",
                    _of("InferResponse"),
                    *OF_A_BODY,
                    requestBody=infer,
                    parameters=[timeout, length],
                )
            },
            "/health": _get("Whether the process works; if not, start it again", health, 500),
            "/ready": _get("Whether requests are answered, and what the model takes", any_object, 503),
            "/metrics": {"get": {"summary": "Metrics", "responses": {"200": text}}},
            "/openapi.json": _get("This description", any_object, 503),
            "/v2": _get("The server", any_object),
            "/v2/health/live": _get("As /health", health, 500),
            "/v2/health/ready": _get("Whether requests are answered", health, 503),
            model: _get("The model's tensors", any_object, 503),
            f"{model}/ready": _get("Whether requests are answered", any_object, 503),
            f"{model}/config": _get("The model's configuration", any_object, 503),
            f"{model}/stats": _get("What was counted since the start", _of("Statistics"), 503),
            "/v2/models/stats": _get("What was counted since the start", _of("Statistics"), 503),
        },
        "components": {"schemas": _schemas()},
    }
