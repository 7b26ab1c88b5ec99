"""The server is as its own description says, whatever is sent to it."""

import json

import pytest
from jsonschema import Draft202012Validator

from impl.serving.client import Connection
from impl.serving.http.openapi import description
from impl.serving.http.tensors import INPUT

from .conftest import TINY, npy, pictures
from .fuzz import fuzz, operations

COUNT = 150


@pytest.fixture
def app(build):
    return build()


@pytest.fixture
def url(app, listen):
    return listen(app)


def test_every_address_is_described(app, url):
    described = app.test_client().get("/openapi.json").json["paths"]
    routes = {rule.rule.replace("<model>", TINY) for rule in app.url_map.iter_rules() if "<version>" not in rule.rule}
    assert set(described) == routes
    assert {label.partition(" ")[2] for label in operations(url)} >= routes - {"/openapi.json"}


def test_answers_are_as_their_schemas_say(url):
    tensor = {"name": INPUT, "shape": [1, 64, 64, 3], "datatype": "UINT8", "data": [0] * 64 * 64 * 3}
    connection = Connection(url)
    document = connection.get("/openapi.json").body
    answers = {
        "Predictions": connection.post(npy(pictures(2)), "application/x-npy", "/predict?top=3"),
        "InferResponse": connection.post(
            json.dumps({"inputs": [tensor]}).encode(), "application/json", f"/v2/models/{TINY}/infer"
        ),
        "Error": connection.post(b"x", ""),
        "Statistics": connection.get("/v2/models/stats"),
    }
    connection.close()
    for name, answer in answers.items():
        Draft202012Validator({**document, "$ref": f"#/components/schemas/{name}"}).validate(answer.body)
    assert [answer.status for answer in answers.values()] == [200, 200, 415, 200]


def test_the_description_follows_the_configuration(app):
    service = app.extensions["serving"]
    document = description(service.config, 7)
    (top,) = (each for each in document["paths"]["/predict"]["post"]["parameters"] if each["name"] == "top")
    assert top["schema"]["maximum"] == 7
    assert app.test_client().get("/openapi.json").json == description(service.config, 10)


@pytest.mark.parametrize(
    "label", ["POST /predict", f"POST /v2/models/{TINY}/infer", "GET /ready", "GET /v2/models/stats"]
)
def test_what_schemathesis_sends(label, url):
    statuses = fuzz(url, operations(url)[label], COUNT)
    if label.startswith("POST"):
        assert statuses.total() >= COUNT
        assert set(statuses) & {400, 413, 415, 422}, statuses
    else:
        assert set(statuses) == {200}, statuses


def test_the_fuzz_sees_a_500(app, url):
    def fail():
        raise RuntimeError("no")

    app.view_functions["ready"] = fail
    with pytest.raises(AssertionError, match=r"500: .*the server failed"):
        fuzz(url, operations(url)["GET /ready"], 5)
