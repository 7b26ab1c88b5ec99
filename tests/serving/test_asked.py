"""What a client asks for is honoured, or refused with the reason; and no answer is a page in HTML, or a redirect."""

import gzip
import io
import json

import numpy as np
import pytest
import torch

from impl.serving import VARIANTS, ServingConfig
from impl.serving.http.pickled import FIELD, application
from impl.variant import best_of
from tests.serving.conftest import TINY, kinds_of, npy, pictures
from tests.serving.test_pictures import encoded

FEW = pictures(2)
NPY = "application/x-npy"
MODEL = f"/v2/models/{TINY}"
INFER = f"{MODEL}/infer"
TENSOR = {"name": "images", "shape": list(FEW.shape), "datatype": "UINT8", "data": FEW.ravel().tolist()}


@pytest.fixture(scope="module")
def client(small_cache):
    app = VARIANTS[best_of(VARIANTS)](ServingConfig(model=TINY, precision="float32", max_body_mb=1))
    app.extensions["serving"].loaded(60)
    yield app.test_client()
    app.extensions["serving"].close()


@pytest.fixture
def original():
    return application(lambda _: torch.zeros(1, 10)).test_client()


@pytest.fixture(params=["optimised", "original"])
def either(request):
    return request.getfixturevalue("client" if request.param == "optimised" else "original")


def refused(answer, status, *words):
    assert answer.status_code == status, answer.text[:300]
    assert answer.content_type == "application/json"
    body = json.loads(answer.text)
    assert body["success"] is False
    for word in words:
        assert word in body["error"], body
    return body["error"]


def inferred(client, path=INFER, *, tensor=TENSOR, **members):
    return client.post(path, json={"inputs": [tensor], **members})


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "zstd", "identity, gzip", "x" * 500, "é"])
def test_an_encoding_of_the_body(encoding, client, original):
    """It was ignored: the body was "damaged"."""
    head = {"Content-Encoding": encoding.encode().decode("latin-1")}
    for path in ("/predict", INFER):
        answer = client.post(path, data=gzip.compress(npy(FEW)), content_type=NPY, headers=head)
        assert "x" * 201 not in refused(answer, 415, "the body is encoded as")
    file = {FIELD: (io.BytesIO(b"x"), "a.pkl")}
    refused(original.post("/predict", data=file, headers=head), 415, "the body is encoded as")


def test_no_encoding(client):
    for encoding in ("identity", "", " Identity "):
        answer = client.post("/predict", data=npy(FEW), content_type=NPY, headers={"Content-Encoding": encoding})
        assert answer.status_code == 200


@pytest.mark.parametrize("header", ["Content-Encoding", "Content-Transfer-Encoding"])
def test_an_encoding_of_a_part(header, client):
    def send(encoding):
        body = (
            b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\nContent-Type: image/png\r\n'
            + f"{header}: {encoding}\r\n\r\n".encode()
            + encoded(FEW[0])
            + b"\r\n--x--\r\n"
        )
        return client.post("/predict", data=body, content_type="multipart/form-data; boundary=x")

    for encoding in ("base64", "gzip", "quoted-printable"):
        refused(send(encoding), 415, "part 'a' is encoded as", encoding)
    for encoding in ("binary", "8bit", "Identity"):
        assert send(encoding).status_code == 200


@pytest.mark.parametrize(
    "query", ["class_count=3", "Top=3", "top_k=3", "k=1", "timeout=5", "top=2&x", "=1", "top%00=1", "x" * 999]
)
def test_unknown_parameters(query, client):
    error = refused(client.post(f"/predict?{query}", data=npy(FEW), content_type=NPY), 400, "top, timeout_ms")
    assert "x" * 201 not in error
    refused(inferred(client, f"{INFER}?{query.replace('top=2', 'timeout_ms=2000')}"), 400, "known are: timeout_ms")


def test_parameters_that_are_given_twice(client):
    for query in ("top=1&top=2", "timeout_ms=5000&timeout_ms=5000"):
        refused(client.post(f"/predict?{query}", data=npy(FEW), content_type=NPY), 400, "is given 2 times")


def test_parameters_of_the_original(original):
    refused(original.post("/predict?top=3", data={FIELD: (io.BytesIO(b"x"), "a")}), 400, "'top'", "known are: none")


def test_parameters_as_values_of_a_form(client):
    form = {"a": (io.BytesIO(encoded(FEW[0])), "a.png", "image/png"), "top": "3"}
    refused(client.post("/predict", data=form), 400, "the form has the value 'top'", "in the query")


def test_a_top_that_is_wrong_is_said_before_anything_is_decoded(client, monkeypatch):
    monkeypatch.setattr("impl.serving.http.inputs.Decoder.images", lambda *_: pytest.fail("it was decoded"))
    refused(client.post("/predict?top=99", data=npy(FEW), content_type=NPY), 400, "from 1 to 10")


@pytest.mark.parametrize("name", ["image", "Images", "input_0", "", "images "])
def test_another_inputs_name(name, client):
    refused(inferred(client, tensor={**TENSOR, "name": name}), 422, "the only input is 'images'", repr(name))


def test_an_input_without_a_name(client):
    refused(inferred(client, tensor={key: value for key, value in TENSOR.items() if key != "name"}), 422, "'images'")


@pytest.mark.parametrize("outputs", [[{"name": "logits"}], [{}], [{"name": "probabilities"}] * 2])
def test_another_outputs_name(outputs, client):
    refused(inferred(client, outputs=outputs), 422, "the only output is 'probabilities'")


def test_unknown_parameters_of_an_inference(client):
    """What tritonclient calls class_count is the parameter `classification` of an output."""
    output = {"name": "probabilities", "parameters": {"classification": 3}}
    refused(inferred(client, outputs=[output]), 422, "'classification'", "binary_data")
    refused(inferred(client, parameters={"class_count": 3}), 422, "'class_count'", "binary_data_output")
    refused(inferred(client, parameters={"timeout": 3}), 422, "'timeout'")
    refused(inferred(client, tensor={**TENSOR, "parameters": {"content_type": "np"}}), 422, "'content_type'")
    refused(inferred(client, tensor={**TENSOR, "more": 1}), 422, "'more'", "datatype")
    refused(inferred(client, model_version="2"), 422, "'model_version'")


def test_model_versions(client):
    """A version that exists is answered where it was asked; another one is refused at every address."""
    for path in ("", "/ready"):
        answer = client.get(f"{MODEL}/versions/1{path}")
        assert (answer.status_code, answer.is_json) == (200, True)
    answer = inferred(client, f"{MODEL}/versions/1/infer")
    assert (answer.status_code, answer.json["model_version"]) == (200, "1")
    assert np.array(answer.json["outputs"][0]["data"]).reshape(2, -1).argmax(axis=1).tolist() == kinds_of(
        client.post("/predict", data=npy(FEW), content_type=NPY).json
    )
    for version in ("2", "0", "01", "1.0", "latest", "%31x", "-1", "1%20"):
        for path in ("", "/ready"):
            refused(client.get(f"{MODEL}/versions/{version}{path}"), 404, "version 1")
        refused(inferred(client, f"{MODEL}/versions/{version}/infer"), 404, "version 1")
    refused(client.get("/v2/models/other"), 404, TINY)
    refused(inferred(client, "/v2/models/other/infer"), 404, TINY)


PATHS = ["/", "/predict/", "/predict//", "/Predict", "/predict/x", "/./predict", "/x/../predict", "/predict;a", "/v2/",
         "/v2//health/live", "/v2/health", "/v2/health/live/", "/v2/models", "/v2/models/", "/ready/", f"{MODEL}/",
         f"{MODEL}/versions", f"{MODEL}/versions/", f"{MODEL}/versions/1/", f"{MODEL}//infer", f"{INFER}/", "/static/x",
         "/favicon.ico", "/é", "/%ff", "/%00", "/" + "x" * 5000, "/<b>"]  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:30])
def test_no_path_is_answered_in_html_or_redirected(path, either):
    for method in ("GET", "POST", "HEAD", "OPTIONS", "PUT", "TRACE", "PROPFIND"):
        answer = either.open(path, method=method)
        assert answer.status_code in {404, 405}, f"{method} {answer.status_code}"
        assert answer.content_type == "application/json"
        assert "Location" not in answer.headers
        if method != "HEAD":
            assert json.loads(answer.text)["success"] is False
            assert "<" not in answer.text


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "LINK", "X" * 100])
def test_wrong_methods(method, either):
    answer = either.open("/predict", method=method)
    assert answer.status_code == 405
    assert answer.content_type == "application/json"
    assert answer.headers["Allow"] == "POST"


def test_every_address_answers_in_json(client):
    for rule in client.application.url_map.iter_rules():
        path = rule.rule.replace("<model>", TINY).replace("<version>", "1")
        for method in ("GET", "POST", "OPTIONS"):
            answer = client.open(path, method=method)
            kind = "text/plain" if path == "/metrics" and method == "GET" else "application/json"
            assert answer.content_type.startswith(kind), f"{method} {path}"
            assert not 300 <= answer.status_code < 400
            assert answer.status_code < 500


@pytest.mark.parametrize("host", ["", "evil host", "a/b", "é", "localhost:99999999", "[::1", "<b>"])
def test_odd_hosts(host, client):
    for path, status in (("/ready", 200), ("//ready", 404)):
        answer = client.get(path, headers={"Host": host.encode().decode("latin-1")})
        assert (answer.status_code, answer.is_json) == (status, True)


def test_a_failure_is_json(client, monkeypatch):
    def fail(_):
        raise RuntimeError("a secret")

    monkeypatch.setattr("impl.serving.http.app.client_gone", lambda: fail(None))
    answer = client.post("/predict", data=npy(FEW), content_type=NPY)
    assert "secret" not in refused(answer, 500, "its log has the reason")
    refused(client.post("/predict", data=bytes(2**20 + 1), content_type=NPY), 413)
    refused(client.post("/predict", data=b"--x", content_type="multipart/form-data; boundary=x"), 400)
