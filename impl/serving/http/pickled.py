"""The protocol of the three originals: a pickled float32 tensor in, `{"success": true}` out.

Unpickling runs any code that the sender put into the pickle. So these servers listen on loopback only, unless every
client is trusted. The original's answer does not hold its predictions; these add them in a header, so that tests can
check them.
"""

import io
import pickle
from collections.abc import Callable

import torch
from flask import Flask, Response, jsonify, request

__all__ = ["ACCEPTED", "FIELD", "HEADER", "PICKLE", "application", "unpickled"]

PICKLE = "application/x-pickle"
ACCEPTED = (PICKLE,)
FIELD = "train_image"
HEADER = "X-Predictions"


def application(predict: Callable[[bytes], torch.Tensor]) -> Flask:
    """Return a Flask application with `POST /predict`; `predict` returns logits [N, classes] of the posted bytes."""
    app = Flask(__name__, static_folder=None)

    @app.post("/predict")
    def answer() -> tuple[Response, int]:
        file = request.files.get(FIELD)
        if file is None:
            return jsonify(success=False, error=f"there is no file {FIELD}"), 400
        logits = predict(file.read())
        response = jsonify(success=True)
        response.headers[HEADER] = " ".join(map(str, logits.argmax(dim=1).tolist()))
        return response, 200

    return app


def unpickled(body: bytes) -> torch.Tensor:
    """Return the tensor, float32 [N, 3, H, W], of a pickle."""
    images: torch.Tensor = pickle.load(io.BytesIO(body))  # noqa: S301 - the original does it; see above
    return images
