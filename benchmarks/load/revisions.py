"""What two revisions of serving are compared by: requests to applications in this process, and bodies to decode.

The applications have a small model, whose requests take milliseconds, so that HTTP, batching and the answer cache are
not lost in the time of the model.
"""

import copyreg
import io
import itertools
import json
import pickle
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
import torchvision
from flask.testing import FlaskClient
from PIL import Image
from torchvision.models._api import register_model
from werkzeug.test import TestResponse
from werkzeug.wrappers import Response

from impl.serving import ServingConfig
from impl.serving.client import Answer, as_npy
from impl.serving.http.app import InMemoryRequest
from impl.serving.http.pickled import FIELD, HEADER
from impl.serving.model.pictures import drawn

from .clients import classes_of, unseen_pictures

__all__ = [
    "BODIES",
    "SmallRequests",
    "assert_same_answers",
    "assert_same_classes",
    "assert_same_images",
    "assert_same_outputs",
    "decoding",
    "server_of",
]

Work = Callable[[], Any]

IMAGES = 8
CACHE_MB = 16
SIDE, LIMITS = 224, (64, 50_000_000)  # of ViT-L/32; images of a request, and pixels of a picture

SMALL = "serving_benchmark_small_vit"
if SMALL not in torchvision.models.list_models():

    @register_model(name=SMALL)
    def small_vit(
        weights: None = None,  # noqa: ARG001 - the signature that torchvision's builders have
        num_classes: int = 10,
    ) -> torchvision.models.VisionTransformer:
        """Return a small vision transformer."""
        return torchvision.models.VisionTransformer(32, 8, 4, 4, 512, 2048, num_classes=num_classes)


class SmallRequests:
    """Work that posts the same 8 images again and again, to an application of its own with a small model."""

    def __init__(self) -> None:
        """Draw the images."""
        self._pictures, _ = unseen_pictures(IMAGES)
        self._body, self._kind = as_npy(self._pictures)
        self._stack = ExitStack()

    def predict(self, variant: Any) -> Work:
        """Post to /predict, in a form that the variant accepts."""
        client, has_service = self._start(variant)
        if has_service:
            return partial(client.post, "/predict", data=self._body, content_type=self._kind)
        pickled = pickle.dumps(torch.from_numpy(self._pictures).permute(0, 3, 1, 2) / 255)
        calls = itertools.count()

        def post_pickle() -> Any:
            # Unpickling ignores bytes after the end: the same images, in a request that no cache has seen.
            file = io.BytesIO(pickled + str(next(calls)).encode())
            return client.post("/predict", data={FIELD: (file, "train_image.pkl")})

        return post_pickle

    def hit(self, variant: Any) -> Work:
        """Post what the answer cache knows."""
        client, _ = self._start(variant, cache_mb=CACHE_MB)
        work = partial(client.post, "/predict", data=self._body, content_type=self._kind)
        work()
        return work

    def infer(self, variant: Any) -> Work:
        """Post by KServe's protocol, in JSON."""
        client, _ = self._start(variant)
        tensor = {"name": "images", "datatype": "UINT8", "shape": self._pictures.shape}
        body = json.dumps({"inputs": [{**tensor, "data": self._pictures.ravel().tolist()}]})
        return partial(client.post, f"/v2/models/{SMALL}/infer", data=body, content_type="application/json")

    def close(self) -> None:
        """Close the applications."""
        self._stack.close()

    def _start(self, variant: Any, **settings: Any) -> tuple[FlaskClient, bool]:
        """Return a client of a new application that is ready, and whether it is one with a `Service`."""
        app = variant(ServingConfig(model=SMALL, **settings))
        service = app.extensions.get("serving")
        if service:
            self._stack.callback(service.close)
            service.loaded()
        client = app.test_client()
        # Where the dependencies differ, each revision answers in a process of its own, and its answers are sent on.
        copyreg.pickle(client.response_wrapper, _plain)
        return client, service is not None


def _plain(response: TestResponse) -> tuple[type[Response], tuple[bytes, str, list[tuple[str, str]]]]:
    """Return how an answer is made anew in another process, without its request."""
    return Response, (response.get_data(), response.status, list(response.headers))


def _npy() -> tuple[bytes, str]:
    return as_npy(unseen_pictures(LIMITS[0])[0])


def _safetensors() -> tuple[bytes, str]:
    pixels = drawn(IMAGES, 1, SIDE).numpy().astype(np.float32) / 255
    return safetensors.numpy.save({"images": pixels}), "application/safetensors"


def _form() -> tuple[bytes, str]:
    files = []
    for picture in unseen_pictures(IMAGES)[0]:
        file = io.BytesIO()
        Image.fromarray(picture).resize((640, 480), Image.Resampling.BILINEAR).save(file, "JPEG")
        files.append((io.BytesIO(file.getvalue()), "a.jpg", "image/jpeg"))
    request = InMemoryRequest.from_values(method="POST", data={"images": files})
    return request.get_data(), request.content_type


BODIES = {"npy": _npy, "safetensors": _safetensors, "form": _form}
"""Bodies and their media types: 64 small pictures in an array, 8 images as the model takes them, 8 photographs."""


def decoding(body: bytes, kind: str) -> Callable[[Any], Work]:
    """Build work: read the images of a request with a revision's `Decoder`."""

    def work(decoder: Any) -> Work:
        images = decoder(SIDE, *LIMITS).images
        return lambda: images(InMemoryRequest.from_values(method="POST", data=body, content_type=kind))

    return work


def server_of(variant: Any) -> tuple[str, Path]:
    """Return the module that serves a variant at its own revision, for `python -m`, and the folder that it is in."""
    package = type(variant).__module__.partition(".")[0]  # of `Variant`: "impl", or what the revision is loaded as
    return f"{package}.serving", Path(str(sys.modules[package].__file__)).parents[1]


def assert_same_answers(expected: TestResponse, answer: TestResponse) -> None:
    """Raise AssertionError unless two answers of /predict have the same predictions."""
    _expect(expected.status_code == answer.status_code == 200, expected.status, answer.status)
    for name in ("predictions", "cached"):
        wanted, got = ((response.json or {}).get(name) for response in (expected, answer))
        _expect(wanted == got, wanted, got)
    wanted, got = expected.headers.get(HEADER), answer.headers.get(HEADER)
    _expect(wanted == got, wanted, got)


def assert_same_outputs(expected: TestResponse, answer: TestResponse) -> None:
    """Raise AssertionError unless two answers of KServe's protocol have the same probabilities, up to 1e-6."""
    _expect(expected.status_code == answer.status_code == 200, expected.status, answer.status)
    (wanted,), (got,) = ((response.json or {})["outputs"] for response in (expected, answer))
    _expect(wanted["shape"] == got["shape"], wanted["shape"], got["shape"])
    _expect(np.allclose(wanted["data"], got["data"], rtol=0, atol=1e-6), wanted["data"], got["data"])


def assert_same_images(expected: torch.Tensor, images: torch.Tensor) -> None:
    """Raise AssertionError unless two requests were decoded to the same images."""
    _expect(expected.dtype == images.dtype, expected.dtype, images.dtype)
    _expect(torch.equal(expected, images), expected, images)


def assert_same_classes(expected: Sequence[Answer], answers: Sequence[Answer]) -> None:
    """Raise AssertionError unless two servers predicted the same classes."""
    wanted, got = (list(map(classes_of, each)) for each in (expected, answers))
    _expect(wanted == got, wanted, got)


def _expect(equal: bool, wanted: object, got: object) -> None:
    if not equal:
        raise AssertionError(f"{got} and not {wanted}")
