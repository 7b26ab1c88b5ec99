"""The Open Inference Protocol, with Triton's own client as the witness."""

import contextlib

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from .conftest import TINY, kinds_of, npy, pictures

IMAGES = pictures(3)


@pytest.fixture
def app(build):
    return build(cache_mb=1)


@pytest.fixture
def client(app, listen):
    with contextlib.closing(triton.InferenceServerClient(listen(app).removeprefix("http://"))) as connected:
        yield connected


def tensor(images=IMAGES, *, name="images", binary=True):
    kind = {"uint8": "UINT8", "float32": "FP32"}[images.dtype.name]
    given = triton.InferInput(name, list(images.shape), kind)
    given.set_data_from_numpy(images, binary_data=binary)
    return given


def asked(*, name="probabilities", binary=True, **more):
    return [triton.InferRequestedOutput(name, binary_data=binary, **more)]


def test_health(client, app):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(TINY)
    assert client.is_model_ready(TINY, "1")
    assert not client.is_model_ready("another")
    assert not client.is_model_ready(TINY, "2")
    app.extensions["serving"].drain()
    assert not client.is_server_ready()
    assert not client.is_model_ready(TINY)


def test_metadata_and_configuration(client):
    assert set(client.get_server_metadata()["extensions"]) == {
        "binary_tensor_data",
        "model_configuration",
        "statistics",
    }
    metadata, config = client.get_model_metadata(TINY), client.get_model_config(TINY, "1")
    assert metadata["name"] == config["name"] == TINY
    for described, configured in zip(metadata["inputs"], config["input"], strict=True):
        assert described["name"] == configured["name"] == "images"
        assert f"TYPE_{described['datatype']}" == configured["data_type"]
        assert described["shape"] == [-1, *configured["dims"]]
    (described,), (configured,) = metadata["outputs"], config["output"]
    assert described["shape"] == [-1, *configured["dims"]] == [-1, 10]
    assert config["max_batch_size"] == 64
    assert config["dynamic_batching"]["max_queue_delay_microseconds"] == 5000


@pytest.mark.parametrize("binary_output", [True, False, None])
@pytest.mark.parametrize("binary_input", [True, False])
def test_inference(binary_input, binary_output, client, app):
    """None: no outputs are named, and the client asks for all of them as bytes."""
    outputs = None if binary_output is None else asked(binary=binary_output)
    result = client.infer(TINY, [tensor(binary=binary_input)], outputs=outputs, request_id="mine")
    probabilities = result.as_numpy("probabilities")
    expected = app.test_client().post("/predict", data=npy(IMAGES)).json
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (3, 10)
    assert probabilities.argmax(axis=1).tolist() == kinds_of(expected)
    assert np.allclose(probabilities.max(axis=1), [each["probability"] for each in expected["predictions"]], atol=1e-6)
    answer = result.get_response()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("mine", TINY, "1")


def test_float_images(client):
    side = 64
    images = np.random.default_rng(1).random((2, side, side, 3), np.float32)
    both = [client.infer(TINY, [tensor(each)]).as_numpy("probabilities") for each in (images, images[:1])]
    assert np.allclose(both[0][:1], both[1], atol=1e-6)


def test_concurrent_requests(client):
    client.infer(TINY, [tensor()])
    waiting = [client.async_infer(TINY, [tensor(IMAGES[place : place + 1])]) for place in range(3)]
    rows = np.concatenate([request.get_result().as_numpy("probabilities") for request in waiting])
    assert np.allclose(rows, client.infer(TINY, [tensor()]).as_numpy("probabilities"), atol=1e-6)


def test_statistics(client):
    before = client.get_inference_statistics(TINY)["model_stats"][0]
    assert before["inference_count"] == before["execution_count"] == before["last_inference"] == 0
    for _ in range(2):
        client.infer(TINY, [tensor()])
    with pytest.raises(InferenceServerException):
        client.infer(TINY, [tensor(name="another")])
    client.infer(TINY, [tensor(pictures(2, seed=9))])
    (after,) = client.get_inference_statistics()["model_stats"]
    assert client.get_inference_statistics(TINY, "1")["model_stats"][0]["name"] == after["name"] == TINY
    assert (after["inference_count"], after["execution_count"]) == (8, 2)
    found = {name: each["count"] for name, each in after["inference_stats"].items() if not name.startswith("compute_")}
    assert found == {"success": 3, "fail": 1, "queue": 2, "cache_hit": 3, "cache_miss": 5}
    assert after["inference_stats"]["success"]["ns"] > after["inference_stats"]["compute_infer"]["ns"] > 0
    assert after["last_inference"] > 1.7e12  # milliseconds since 1970


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"model_name": "another"}, "there is no such model"),
        ({"model_version": "2"}, "there is no such model"),
        ({"inputs": [tensor(name="another")]}, "the only input is 'images'"),
        ({"inputs": [tensor(), tensor()]}, "there must be one input"),
        ({"inputs": [tensor(IMAGES[0])]}, "the input"),
        ({"outputs": asked(name="another")}, "the only output is 'probabilities'"),
        ({"outputs": asked(class_count=3)}, "unknown parameter 'classification'"),
        ({"outputs": asked(binary=False, class_count=3)}, "unknown parameter 'classification'"),
        ({"sequence_id": 7, "sequence_start": True}, "unknown parameter 'sequence_id'"),
        ({"priority": 1}, "unknown parameter 'priority'"),
        ({"timeout": 1}, "unknown parameter 'timeout'"),
        ({"parameters": {"mine": 1}}, "unknown parameter 'mine'"),
        ({"request_compression_algorithm": "gzip"}, "encoded as 'gzip'"),
        ({"query_params": {"mine": 1}}, "there is no parameter 'mine' here"),
        ({"query_params": {"timeout_ms": 0}}, "timeout_ms must be a number of milliseconds above 0"),
    ],
)
def test_what_is_not_honoured_is_said(request_, message, client):
    with pytest.raises(InferenceServerException) as refused:
        client.infer(**{"model_name": TINY, "inputs": [tensor()], **request_})
    assert message in refused.value.message()
    assert refused.value.status().startswith("4")


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get_model_repository_index(),
        lambda client: client.load_model(TINY),
        lambda client: client.unload_model(TINY),
        lambda client: client.get_system_shared_memory_status(),
        lambda client: client.get_trace_settings(),
        lambda client: client.get_model_config("another"),
        lambda client: client.get_model_metadata("another"),
        lambda client: client.get_inference_statistics("another"),
    ],
)
def test_what_is_not_offered_is_not_found(call, client):
    with pytest.raises(InferenceServerException) as refused:
        call(client)
    assert refused.value.status() in {"404", "405"}


def test_answers_are_not_compressed(client):
    result = client.infer(TINY, [tensor()], response_compression_algorithm="gzip")
    assert result.as_numpy("probabilities").shape == (3, 10)
