"""A small digit set and a model trained for a few seconds, in a cache folder that only these tests use."""

import contextlib
import os
import shutil
import time
from functools import partial

import pytest
import torch

from impl.evaluation import load_data, load_model, training
from impl.evaluation.data import DIGITS, ROOT_VARIABLE, raw_folder
from impl.evaluation.digits import write_digits
from impl.shared.cache import CACHE_VARIABLE

STEPS = 120


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A cache folder with the data and the model. Of parallel workers one makes it, and the others copy it."""
    own = tmp_path_factory.mktemp("cache") / "evaluation"
    if "PYTEST_XDIST_WORKER" not in os.environ:
        make(own)
        return own
    shared = tmp_path_factory.getbasetemp().parent / "evaluation"
    try:
        shared.with_name("evaluation-begun").mkdir()
    except FileExistsError:
        deadline = time.monotonic() + 120
        while not shared.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    else:
        make(own)
        shutil.copytree(own, shared.with_name("evaluation-copy"))
        shared.with_name("evaluation-copy").rename(shared)  # the others see it once it is complete
        return own
    if shared.exists():
        shutil.copytree(shared, own)
    else:  # the other worker failed
        make(own)
    return own


def make(folder):
    write_digits(raw_folder(folder / DIGITS), 2_000, 1_000, 3)
    with small(folder):
        load_model()


@contextlib.contextmanager
def small(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))
        patch.delenv(ROOT_VARIABLE, raising=False)
        patch.setattr(training, "train", partial(training.train, steps=STEPS))
        yield


# Module scope, so that benchmarks in the same run use their own data.
@pytest.fixture(scope="module", autouse=True)
def small_cache(made):
    with small(made):
        yield made


@pytest.fixture(scope="module")
def data(small_cache):
    return load_data()


@pytest.fixture(scope="module")
def model(data):
    return load_model()


@pytest.fixture
def images(data):
    return data[1][0]


@pytest.fixture
def labels(data):
    return data[1][1]


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
