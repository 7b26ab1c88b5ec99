"""A cache folder per process, and servers for the tests."""

import contextlib
import io
import threading

import numpy as np
import pytest
import torch

from impl.serving import VARIANTS, ServingConfig
from impl.serving.http.server import Server
from impl.serving.model.pictures import draw_pictures
from impl.shared.cache import CACHE_VARIABLE
from impl.variant import best_of
from tests.serving.tiny import TINY


@pytest.fixture(scope="package", autouse=True)
def small_cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))
        yield folder


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def build(small_cache):
    """Build a ready application of the best variant; close it at the end."""
    with contextlib.ExitStack() as stack:

        def make(**settings):
            settings = {"model": TINY, "precision": "float32", **settings}
            app = VARIANTS[best_of(VARIANTS)](ServingConfig(**settings))
            stack.callback(app.extensions["serving"].close)
            app.extensions["serving"].loaded(120)
            return app

        yield make


@pytest.fixture
def listen():
    """Serve an application from a thread; return its URL."""
    with contextlib.ExitStack() as stack:

        def start(app, **more):
            server = Server(app, "127.0.0.1", 0, **more)
            thread = threading.Thread(target=server.run)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.stop)
            return f"http://127.0.0.1:{server.port}"

        yield start


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def pictures(count=1, seed=1):
    return draw_pictures(count, seed)[0]


def kinds_of(answer):
    return [prediction["index"] for prediction in answer["predictions"]]
