"""A small digit set and a model trained for a few seconds, in a cache folder that only these tests use."""

import pytest
import torch

from impl.evaluation import load_data, load_model
from impl.evaluation.data import DIGITS, ROOT_VARIABLE, raw_folder
from impl.evaluation.digits import write_digits
from impl.shared.cache import CACHE_VARIABLE


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    write_digits(raw_folder(folder / DIGITS), 2_000, 1_000, 3)
    return folder


# Module scope, so that benchmarks in the same run use their own data.
@pytest.fixture(scope="module", autouse=True)
def small_cache(digits):
    folder = digits
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))
        patch.delenv(ROOT_VARIABLE, raising=False)
        patch.setattr("impl.evaluation.training.STEPS", 120)
        yield folder


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
