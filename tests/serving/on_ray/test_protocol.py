"""The Open Inference Protocol by Triton's own client, against Ray Serve."""

import contextlib

import pytest
import tritonclient.http as triton

from tests.serving.on_ray.conftest import MARKS
from tests.serving.test_protocol import (  # noqa: F401 - they are collected here
    test_answers_are_not_compressed,
    test_concurrent_requests,
    test_metadata_and_configuration,
    test_what_is_not_honoured_is_said,
    test_what_is_not_offered_is_not_found,
)

pytestmark = MARKS


@pytest.fixture
def client(url):
    with contextlib.closing(triton.InferenceServerClient(url.removeprefix("http://"))) as connected:
        yield connected
