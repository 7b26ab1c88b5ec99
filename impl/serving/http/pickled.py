"""What the three originals share: a pickled float32 tensor comes in, and `{"success": true}` goes out.

Unpickling runs whatever the sender wrote, so these listen on loopback only, unless every client is trusted. What they
predicted travels in a header that the original had not, because what nobody can see, nobody can check.
"""

import io
import pickle
from collections.abc import Callable

import torch
from flask import Flask, Response, jsonify, request

__all__ = ["FIELD", "HEADER", "application", "unpickled"]

FIELD = "train_image"
HEADER = "X-Predictions"


def application(predict: Callable[[bytes], torch.Tensor]) -> Flask:
    """Return a Flask application with `POST /predict`; `predict` makes logits [N, classes] of the posted bytes."""
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
    images: torch.Tensor = pickle.load(io.BytesIO(body))  # noqa: S301 - the original does; see above
    return images
