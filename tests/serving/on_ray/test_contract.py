"""The serving case's own tests of what clients send and get, against Ray Serve over sockets."""

import http.client
from urllib.parse import urlsplit

import pytest
from werkzeug.test import Client

from tests.serving.on_ray.conftest import MARKS
from tests.serving.test_asked import (  # noqa: F401 - they are collected here
    test_an_encoding_of_a_part,
    test_an_input_without_a_name,
    test_another_inputs_name,
    test_another_outputs_name,
    test_model_versions,
    test_no_encoding,
    test_parameters_as_values_of_a_form,
    test_parameters_that_are_given_twice,
    test_unknown_parameters,
    test_unknown_parameters_of_an_inference,
)
from tests.serving.test_inputs import (  # noqa: F401 - likewise
    expected_classes,
    test_a_deadline,
    test_an_invalid_body,
    test_every_input_format_gives_the_same_answer,
    test_float32_input_is_used_unchanged,
    test_invalid_parts,
    test_jpeg_and_other_modes_of_png,
    test_kserve,
    test_kserve_rejects_invalid_input,
    test_top,
    test_wrong_methods_and_paths,
)
from tests.serving.test_numbers import (  # noqa: F401 - likewise
    test_binary_tensors_that_lie,
    test_every_field_in_headers_of_safetensors,
    test_every_field_of_an_inference,
    test_headers_of_npy_that_others_write,
    test_headers_of_safetensors,
    test_json_is_utf_8,
    test_long_shapes_and_ids_are_not_repeated,
    test_numbers_in_a_query_that_are_right,
    test_other_fields_in_headers_of_npy,
    test_shapes_in_headers_of_npy,
    test_values_of_a_tensor,
    test_what_is_repeated_is_cut,
)

pytestmark = MARKS


def forwarding(url):
    """Return a WSGI application that passes each request on to a server, and its answer back."""
    address = urlsplit(url).netloc

    def forward(environ, start_response):
        query = f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""
        headers = {
            name.removeprefix("HTTP_").replace("_", "-"): value
            for name, value in environ.items()
            if name.startswith("HTTP_") and name != "HTTP_HOST"
        }
        if environ.get("CONTENT_TYPE"):
            headers["Content-Type"] = environ["CONTENT_TYPE"]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        connection = http.client.HTTPConnection(address, timeout=30)
        connection.request(environ["REQUEST_METHOD"], environ["REQUEST_URI"].partition("?")[0] + query, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        start_response(f"{answer.status} {answer.reason}", answer.getheaders())
        return [content]

    return forward


@pytest.fixture(scope="module")
def client(url):
    return Client(forwarding(url))
