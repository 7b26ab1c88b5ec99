"""The protocol of the three originals: a pickled float32 tensor in, `{"success": true}` out.

Unpickling runs any code that the sender put into the pickle. So these servers listen on loopback only, unless every
client is trusted. That is not enough: a web page in a browser on the same machine can post to loopback too, and a name
of its own can lead there (DNS rebinding). Browsers say where a post comes from, in the header Origin, and which name
they asked for, in Host. A request with an Origin, or with a Host that is not loopback, gets 403 before its body is
read.

The original's answer does not hold its predictions; these add them in a header, so that tests can check them.
"""

import io
import pickle
import re
from collections.abc import Callable

import torch
from flask import Flask, Response, jsonify, request

from ..config import is_loopback
from .asked import refuse_unknown
from .errors import ServingError
from .json_errors import json_application
from .strict import shown

__all__ = ["ACCEPTED", "ANY_HOST", "FIELD", "HEADER", "PICKLE", "application", "unpickled"]

PICKLE = "application/x-pickle"
ACCEPTED = (PICKLE,)
FIELD = "train_image"
HEADER = "X-Predictions"
ANY_HOST = "SERVING_ANY_HOST"
"""The key of the application's configuration under which it accepts every Host: every client is trusted."""

HOST = re.compile(r"(?:\[(?P<ip6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9.-]+))(?::\d{1,5})?", re.IGNORECASE | re.ASCII)


def application(predict: Callable[[bytes], torch.Tensor]) -> Flask:
    """Return a Flask application with `POST /predict`; `predict` returns logits [N, classes] of the posted bytes."""
    app = json_application(__name__)

    @app.before_request
    def refuse_browsers() -> None:
        host = request.headers.get("Host", "")
        if "Origin" in request.headers:
            raise ServingError(403, "this server reads pickles, and takes no requests from web pages (Origin)")
        if not app.config.get(ANY_HOST) and not _is_loopback(host):
            raise ServingError(
                403,
                f"this server reads pickles, and must be addressed as localhost or 127.0.0.1, not {shown(repr(host))}",
            )

    refuse_unknown(app, {"answer": ()})

    @app.post("/predict")
    def answer() -> tuple[Response, int]:
        file = request.files.get(FIELD)
        if file is None:
            raise ServingError(400, f"there is no file {FIELD}")
        logits = predict(file.read())
        response = jsonify(success=True)
        response.headers[HEADER] = " ".join(map(str, logits.argmax(dim=1).tolist()))
        return response, 200

    return app


def _is_loopback(host: str) -> bool:
    """Return whether a Host header, with or without a port, names this machine's own loopback."""
    found = HOST.fullmatch(host)
    return bool(found and is_loopback((found["ip6"] or found["name"]).lower()))


def unpickled(body: bytes) -> torch.Tensor:
    """Return the tensor, float32 [N, 3, H, W], of a pickle.

    Raises:
        ServingError: 400, it cannot be unpickled.
    """
    try:
        images: torch.Tensor = pickle.load(io.BytesIO(body))  # noqa: S301 - the original does it; see above
    except Exception as error:  # the types are those of all the code that a pickle can run
        raise ServingError(400, f"the pickle cannot be read: {type(error).__name__}") from error
    return images
