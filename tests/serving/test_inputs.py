"""Valid inputs are accepted; each invalid input is rejected with its own status and reason, never with a 500."""

import io
import json
import pickle
import random
import re
import struct
import time
import zlib

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor, resize

from impl.serving import VARIANTS, ServingConfig
from impl.serving.http.inputs import Decoder
from impl.variant import best_of
from tests.serving.conftest import TINY, kinds_of, npy, pictures

DECODER = Decoder(64, 64, 10**6)
FEW = pictures(3)


def encoded(picture, form="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, form, **options)
    return file.getvalue()


def file(body, name="a.png", kind="image/png"):
    return (io.BytesIO(body), name, kind)


@pytest.fixture(scope="module")
def app(small_cache):
    application = VARIANTS[best_of(VARIANTS)](
        ServingConfig(model=TINY, precision="float32", max_body_mb=1, max_pixels=10**6)
    )
    application.extensions["serving"].loaded(60)
    yield application
    application.extensions["serving"].close()


@pytest.fixture(scope="module")
def client(app):
    return app.test_client()


@pytest.fixture(scope="module")
def expected_classes(client):
    return kinds_of(client.post("/predict", data=npy(FEW), content_type="application/x-npy").json)


def test_resized_as_torchvision_does_it():
    for picture in (*pictures(4), np.random.default_rng(0).integers(0, 256, (301, 77, 3), np.uint8)):
        expected = pil_to_tensor(resize(Image.fromarray(picture), [64, 64]))
        assert (DECODER.picture(encoded(picture), "it")[0] == expected).all()
        assert (DECODER.array(picture[None], "it")[0] == expected).all()


@pytest.mark.parametrize(
    "posted",
    [
        {"data": npy(FEW), "content_type": "application/x-npy"},
        {"data": npy(FEW), "content_type": "application/octet-stream"},
        {"data": npy(np.ascontiguousarray(FEW.transpose(0, 3, 1, 2))), "content_type": "application/x-npy"},
        {"data": safetensors.numpy.save({"images": FEW}), "content_type": "application/safetensors"},
        {"data": safetensors.numpy.save({"images": FEW})},
        {"data": {"train_image": [file(encoded(picture)) for picture in FEW]}},
        {"data": {"train_image": [file(encoded(p), "a", "application/octet-stream") for p in FEW]}},
        {"data": {"a": file(npy(FEW[:2]), "a.npy", "application/x-npy"), "b": file(encoded(FEW[2]))}},
    ],
)
def test_every_input_format_gives_the_same_answer(posted, client, expected_classes):
    answer = client.post("/predict", **posted)
    assert answer.status_code == 200, answer.json
    assert kinds_of(answer.json) == expected_classes
    assert (answer.json["success"], answer.json["model"], answer.json["cached"]) == (True, TINY, False)


def test_float32_input_is_used_unchanged(client, expected_classes):
    images = torch.cat([DECODER.picture(encoded(picture), "it") for picture in FEW]).numpy() / np.float32(255)
    for array in (images, np.ascontiguousarray(images.transpose(0, 2, 3, 1))):
        assert (
            kinds_of(client.post("/predict", data=npy(array), content_type="application/x-npy").json)
            == expected_classes
        )


def test_jpeg_and_other_modes_of_png(client):
    for body in (encoded(FEW[0], "JPEG", quality=95), encoded(FEW[0][..., 0])):
        assert client.post("/predict", data=body, content_type="image/jpeg").status_code == 200


def test_top(client):
    answer = client.post("/predict?top=4", data=npy(FEW), content_type="application/x-npy").json
    for prediction in answer["predictions"]:
        likely = [entry["probability"] for entry in prediction["top"]]
        assert len(likely) == 4
        assert likely == sorted(likely, reverse=True)
        assert prediction["top"][0] == {key: prediction[key] for key in ("index", "label", "probability")}
    for top in ("0", "11", "-1", "x", "1e9", "9" * 30, ""):
        assert client.post(f"/predict?top={top}", data=npy(FEW)).status_code == 400


def npy_of(shape, dtype, body=b""):
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": dtype, "fortran_order": False, "shape": shape})
    return out.getvalue() + body


def bomb(width, height):
    """A decompression bomb: a PNG of a few bytes with huge dimensions."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")


NPY, PNG, TENSORS = "application/x-npy", "image/png", "application/safetensors"
ONE = encoded(FEW[0])


@pytest.mark.parametrize(
    ("body", "kind", "status", "message"),
    [
        (b"", NPY, 400, "no body"),
        (b"", PNG, 400, "no body"),
        (ONE[:-30], PNG, 400, "damaged"),
        (ONE[:20], PNG, 400, "damaged"),
        (b"GIF89a" + bytes(50), PNG, 400, "damaged"),
        (npy(FEW)[:-1], NPY, 400, "says .* bytes, and has"),
        (npy(FEW) + b"\0", NPY, 400, "says .* bytes, and has"),
        (npy_of((10**12, 32, 32, 3), "|u1"), NPY, 400, "3072000000000000 bytes, and has 0"),
        (npy_of((2**62, 2**62, 2**62, 3), "|u1", b"x"), NPY, 400, "says"),
        (b"\x93NUMPY\1\0\xff\xff", NPY, 400, "header"),
        (b"\x93NUMPY\2\0\xff\xff\xff\x7f{", NPY, 400, "header"),
        (npy_of((1, 32, 32, 3), "|O", pickle.dumps(1)), NPY, 415, "pickled"),
        (npy(FEW.astype(np.int64)), NPY, 422, "int64, and must be"),
        (npy(FEW.astype(np.float16)), NPY, 422, "float16"),
        (npy(np.zeros((1, 3, 64, 64), ">f4")), NPY, 422, ">f4"),
        (npy(FEW[0]), NPY, 422, "shape"),
        (npy(FEW[:0]), NPY, 422, "shape"),
        (npy(np.zeros((1, 32, 32, 4), np.uint8)), NPY, 422, "shape"),
        (npy(np.asfortranarray(FEW)), NPY, 422, "Fortran"),
        (npy(np.zeros((1, 3, 32, 32), "f4")), NPY, 422, "must be of 64 x 64"),
        (npy(np.full((1, 3, 64, 64), np.nan, "f4")), NPY, 422, "not finite"),
        (npy(np.full((1, 3, 64, 64), -np.inf, "f4")), NPY, 422, "not finite"),
        (npy(pictures(65)), NPY, 413, "more than 64 images"),
        (bytes(2**20 + 1), NPY, 413, "exceeds the capacity"),
        (npy(np.zeros((1, 1, 1_000_001, 3), np.uint8))[: 10**6], NPY, 400, "says"),
        (bomb(50_000, 50_000), PNG, 413, "pixels"),
        (bomb(2_000, 1_000), PNG, 413, "2000 x 1000 pixels"),
        (b"\xff" * 100, TENSORS, 400, "damaged"),
        (struct.pack("<Q", 2**63) + b"{}", TENSORS, 400, "damaged"),
        (safetensors.numpy.save({"a": FEW, "b": FEW}), TENSORS, 422, "2 tensors"),
        (safetensors.numpy.save({"a": FEW.astype(np.int32)}), TENSORS, 422, "I32"),
        (pickle.dumps(FEW), "application/octet-stream", 415, "pickle"),
        (pickle.dumps(FEW), "", 415, "pickle"),
        (pickle.dumps(FEW), "application/x-pickle", 415, "x-pickle"),
        (pickle.dumps(FEW), NPY, 400, "header"),
        (ONE, "image/gif", 415, "image/gif"),
        (b"{}", "application/json", 415, "application/json"),
        (b"--x\r\n", "multipart/form-data; boundary=x", 400, ""),
        (b"--x--\r\n", "multipart/form-data; boundary=x", 400, "no images"),
        (b"nothing", "multipart/form-data", 400, ""),
    ],
)
def test_an_invalid_body(body, kind, status, message, client, expected_classes):
    start = time.monotonic()
    answer = client.post("/predict", data=body, content_type=kind)
    assert time.monotonic() - start < 2
    assert answer.status_code == status, answer.text
    assert answer.json["success"] is False
    assert message == "" or re.search(message, answer.json["error"]), answer.json
    assert "Traceback" not in answer.text
    assert kinds_of(client.post("/predict", data=npy(FEW), content_type=NPY).json) == expected_classes


def test_invalid_parts(client):
    for parts, status in (
        ({"a": file(pickle.dumps(1), "train_image.pkl", "application/octet-stream")}, 415),
        ({"a": file(b"")}, 400),
        ({"a": "no file"}, 415),
        ({"a": [file(ONE) for _ in range(65)]}, 413),
        ({"a": file(ONE), "b": file(npy(np.zeros((1, 3, 64, 64), "f4")), "b", NPY)}, 422),
    ):
        assert client.post("/predict", data=parts).status_code == status


def test_wrong_methods_and_paths(client):
    for answer, status in ((client.get("/predict"), 405), (client.post("/nowhere"), 404), (client.put("/ready"), 405)):
        assert answer.status_code == status
        assert answer.json["success"] is False


def test_a_wrong_content_length(client):
    for length in ("5", "999999", "-1", "x", "1" * 30):
        answer = client.post("/predict", data=npy(FEW), content_type=NPY, environ_overrides={"CONTENT_LENGTH": length})
        assert 400 <= answer.status_code < 500, f"{length}: {answer.text}"


SEEDS = [
    (npy(FEW), NPY),
    (npy(np.zeros((1, 3, 64, 64), "f4")), NPY),
    (ONE, PNG),
    (encoded(FEW[0], "JPEG"), "image/jpeg"),
    (safetensors.numpy.save({"a": FEW}), TENSORS),
    (pickle.dumps(FEW), "application/octet-stream"),
    (bomb(9_000, 9_000), PNG),
    (
        b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\nContent-Type: image/png\r\n\r\n'
        + ONE
        + b"\r\n--x--\r\n",
        "multipart/form-data; boundary=x",
    ),
]
KINDS = [kind for _, kind in SEEDS] + ["", "image/gif", "application/json", "multipart/form-data; boundary=", "\0"]


def malformed(rng):
    """One of the seeds with bytes replaced, removed, inserted or cut off, with huge numbers, or with another type."""
    body, kind = rng.choice(SEEDS)
    body = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        position = rng.randrange(min(len(body), rng.choice([16, 200, 10**6])) or 1) if body else 0
        change = rng.randrange(6)
        if change == 0 and body:
            body[position] = rng.randrange(256)
        elif change == 1:
            del body[position : position + rng.choice([1, 7, 1000])]
        elif change == 2:
            body[position:position] = rng.randbytes(rng.choice([1, 4, 300]))
        elif change == 3:
            del body[position:]
        elif change == 4 and body:
            body[position : position + 8] = struct.pack("<Q", rng.choice([0, 1, 2**31, 2**63, 2**64 - 1]))
        else:
            kind = rng.choice(KINDS)
    return bytes(body), kind


def answered(client, body, kind, path="/predict"):
    answer = client.post(path, data=body, content_type=kind)
    assert answer.status_code in {200, 400, 413, 415, 422}, f"{answer.status_code} for {body[:80]!r} as {kind!r}"
    assert answer.is_json
    assert answer.json.get("success", True) is (answer.status_code == 200)
    return answer.status_code


def test_seven_thousand_malformed_requests(client, expected_classes):
    """Ten thousand together with the generated requests below; `soak` sends as many over sockets."""
    rng, statuses = random.Random(11), []
    for number in range(7_000):
        statuses.append(answered(client, *malformed(rng)))
        if number % 1_000 == 0:
            assert kinds_of(client.post("/predict", data=npy(FEW), content_type=NPY).json) == expected_classes
    assert {200, 400, 413, 415, 422} <= set(statuses), "some kinds of damage never occurred"
    assert statuses.count(200) < 1_800


headers = st.fixed_dictionaries(
    {
        "descr": st.sampled_from(["|u1", "<f4", ">f4", "<f8", "|O", "|S9", "<U3", "|V0", "<M8[s]"])
        | st.text(max_size=5),
        "fortran_order": st.booleans(),
        "shape": st.lists(st.integers(-1, 2**65) | st.sampled_from([1, 3, 32, 64]), max_size=6).map(tuple),
    }
)


def generated_npy(header, body):
    text = repr(header).encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + body


@settings(max_examples=1_000, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(
    st.builds(generated_npy, headers, st.binary(max_size=100)) | st.binary(max_size=60).map(b"\x93NUMPY\1\0".__add__)
)
def test_a_thousand_generated_arrays(body):
    answered(CLIENTS["one"], body, NPY)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
inputs = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(max_size=3),
        "shape": st.lists(st.integers(-1, 70), max_size=5) | st.just([1, 1, 1, 3]) | json_values,
        "datatype": st.sampled_from(["UINT8", "FP32", "BYTES"]) | json_values,
        "data": st.lists(st.integers(-1, 300) | st.floats(), max_size=6) | st.just([1, 2, 3]) | json_values,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 9)}) | json_values,
    },
)
inference_requests = st.fixed_dictionaries(
    {"inputs": st.lists(inputs, max_size=2) | json_values, "outputs": json_values}
)


@settings(max_examples=1_000, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(inference_requests | json_values)
def test_a_thousand_generated_inferences(value):
    answered(CLIENTS["one"], json.dumps(value).encode(), "application/json", f"/v2/models/{TINY}/infer")


@settings(max_examples=1_000, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(inference_requests, st.binary(max_size=12), st.integers(-2, 500) | st.text("0123456789-x", max_size=14))
def test_a_thousand_generated_binary_inferences(value, binary, length):
    body = json.dumps(value).encode()
    length = len(body) if length == -2 else length
    answer = CLIENTS["one"].post(
        f"/v2/models/{TINY}/infer", data=body + binary, headers={"Inference-Header-Content-Length": str(length)}
    )
    assert answer.status_code in {200, 400, 413, 422}
    assert answer.status_code == 200 or answer.json["success"] is False


CLIENTS = {}


@pytest.fixture(autouse=True)
def _one_client(client):
    """hypothesis runs a test many times within one fixture's lifetime, so the module's tests share a client."""
    CLIENTS["one"] = client


def infer(client, tensor, raw=b"", **fields):
    body = json.dumps({"inputs": [{"name": "images", **tensor}], **fields}).encode()
    head = {"Inference-Header-Content-Length": str(len(body))} if raw or fields.pop("binary", False) else {}
    return client.post(f"/v2/models/{TINY}/infer", data=body + raw, headers=head)


def test_kserve(client, expected_classes):
    tensor = {"shape": list(FEW.shape), "datatype": "UINT8"}
    answer = infer(client, {**tensor, "data": FEW.ravel().tolist()}, id="seven")
    assert answer.status_code == 200, answer.json
    assert (answer.json["model_name"], answer.json["id"]) == (TINY, "seven")
    (output,) = answer.json["outputs"]
    probabilities = np.array(output["data"]).reshape(output["shape"])
    assert probabilities.argmax(axis=1).tolist() == expected_classes
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert infer(client, {**tensor, "data": FEW.tolist()}).json["outputs"] == answer.json["outputs"]

    sized = {**tensor, "parameters": {"binary_data_size": FEW.nbytes}}
    for fields in (
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}]},
    ):
        answer = infer(client, sized, FEW.tobytes(), **fields)
        assert answer.status_code == 200, answer.text
        length = int(answer.headers["Inference-Header-Content-Length"])
        (output,) = json.loads(answer.data[:length])["outputs"]
        values = np.frombuffer(answer.data[length:], "<f4").reshape(output["shape"])
        assert np.allclose(values, probabilities, atol=1e-6)
        assert output["parameters"]["binary_data_size"] == len(answer.data) - length

    assert client.get("/v2").json["extensions"] == ["binary_tensor_data", "model_configuration", "statistics"]
    assert client.get("/v2/health/live").json == {"live": True}
    assert client.get("/v2/health/ready").json == {"ready": True}
    assert client.get(f"/v2/models/{TINY}/ready").json["ready"] is True
    assert client.get(f"/v2/models/{TINY}").json["outputs"][0]["shape"] == [-1, 10]
    assert client.get("/v2/models/other").status_code == 404
    assert client.get(f"/v2/models/{TINY}/versions/2").status_code == 404


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"datatype": "BYTES"}, 422, "datatype"),
        ({"shape": [3, 32, 32]}, 422, "shape"),
        ({"shape": [2, 32, 32, 3]}, 422, "6144 values, and there are 9216"),
        ({"shape": [10**6, 32, 32, 3]}, 413, "more than 64"),
        ({"data": [256] * FEW.size}, 422, "0 .. 255"),
        ({"data": [0.5] * FEW.size}, 422, "numbers of uint8"),
        ({"data": ["a"] * FEW.size}, 422, "images are numbers"),
        ({"data": ["a", *[1] * (FEW.size - 1)]}, 422, "numbers of uint8"),
        ({"data": [[1], [2, 3]]}, 422, "different lengths"),
        ({"data": None}, 422, "data of the input must be a list"),
        ({"parameters": {"binary_data_size": 5}}, 422, "both a list and binary data"),
    ],
)
def test_kserve_rejects_invalid_input(change, status, message, client):
    answer = infer(client, {"shape": list(FEW.shape), "datatype": "UINT8", "data": FEW.ravel().tolist(), **change})
    assert answer.status_code == status, answer.json
    assert message in answer.json["error"]


def test_the_answer_cache_is_off_by_default(build, client):
    assert client.post("/predict", data=npy(FEW)).json["cached"] is False
    other = build(cache_mb=1).test_client()
    first = other.post("/predict", data=npy(FEW[:2])).json
    assert first["cached"] is False
    again = other.post("/predict", data={"a": [file(encoded(picture)) for picture in FEW[:2]]}).json
    assert again["cached"] is True, "the pixels are the same, only the encoding differs"
    assert again["predictions"] == first["predictions"]
    mixed = other.post("/predict", data=npy(FEW)).json
    assert mixed["cached"] is False
    assert mixed["predictions"][:2] == first["predictions"]
    text = other.get("/metrics").text
    assert 'serving_images_total{origin="memory"} 4.0' in text
    assert 'serving_images_total{origin="model"} 3.0' in text
    assert 'serving_requests_total{outcome="200"} 3.0' in text
    assert "serving_batch_images_count 2.0" in text
    assert 'serving_request_seconds_count{outcome="200"} 3.0' in text
    assert "serving_model_seconds_count 2.0" in text
    assert "serving_queue_seconds_count 2.0" in text
    assert "serving_queue_images 0.0" in text


def test_a_deadline(client):
    for timeout in ("x", "-1", "0", "nan", ""):
        assert client.post(f"/predict?timeout_ms={timeout}", data=npy(FEW)).status_code == 400
    answer = client.post("/predict?timeout_ms=0.001", data=npy(FEW))
    assert answer.status_code == 504
    assert "deadline" in answer.json["error"]
