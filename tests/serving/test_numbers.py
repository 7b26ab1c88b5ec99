"""Numbers, shapes and notations of every field: wrong ones get 400 or 422, at once, and never a 500 or invalid JSON."""

import io
import json
import resource
import struct
import time

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from impl.serving import VARIANTS, ServingConfig
from impl.serving.http import strict
from impl.serving.http.arrays import npy as read_npy
from impl.serving.http.arrays import safetensors as read_safetensors
from impl.serving.http.errors import ServingError
from impl.serving.model import precision
from impl.variant import best_of
from tests.serving.conftest import TINY, kinds_of, npy, pictures
from tests.serving.test_precision import BFLOAT16

INFER, NPY, TENSORS = f"/v2/models/{TINY}/infer", "application/x-npy", "application/safetensors"
FEW = pictures(2)
SMALL = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
PIXELS = SMALL.tobytes()


@pytest.fixture(scope="module")
def client(small_cache):
    app = VARIANTS[best_of(VARIANTS)](ServingConfig(model=TINY, precision="float32", max_body_mb=16))
    app.extensions["serving"].loaded(60)
    yield app.test_client()
    app.extensions["serving"].close()


@pytest.fixture(autouse=True)
def _afterwards(client):
    """After each test the next good request is answered right."""
    yield
    assert client.post("/predict", data=npy(FEW), content_type=NPY).status_code == 200


def no_constant(name):
    pytest.fail(f"{name} in an answer")


def refused(answer, *statuses):
    """Check that an answer is an error, in valid JSON, that repeats little of the request."""
    assert answer.status_code in (statuses or (400, 413, 422)), answer.text[:300]
    body = json.loads(answer.text, parse_constant=no_constant)
    assert body["success"] is False
    assert len(body["error"]) < 400
    return body["error"]


def post(client, path, **request):
    """Post; the answer must come within seconds, and must not cost memory."""
    memory, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    answer = client.post(path, **request)
    assert time.monotonic() - start < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200_000, "more than 200 MB"
    return answer


def text_of(**fields):
    """A request in JSON with one field replaced by a text, valid or not."""
    said = {
        "id": '"a"', "name": '"images"', "datatype": '"UINT8"', "shape": "[1, 2, 2, 3]", "size": "1",
        "data": "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]", "own": "{}", "all": "{}", "out": '"probabilities"',
        "wanted": "{}", **fields,
    }  # fmt: skip
    own = {
        "input": f'{{"name": {said["name"]}, "shape": {said["shape"]}, "datatype": {said["datatype"]}, '
        f'"parameters": {said["own"]}, "data": {said["data"]}}}',
        "output": f'{{"name": {said["out"]}, "parameters": {said["wanted"]}}}',
    } | said
    own = {"inputs": f"[{own['input']}]", "outputs": f"[{own['output']}]"} | own
    return f'{{"id": {own["id"]}, "parameters": {own["all"]}, "inputs": {own["inputs"]}, "outputs": {own["outputs"]}}}'


PLACES = {
    "id": "{}",
    "all": "{}",
    "all ": '{{"binary_data_output": {}}}',
    "name": "{}",
    "datatype": "{}",
    "shape": "{}",
    "shape ": "[{}, 2, 2, 3]",
    "shape  ": "[1, {}, 2, 3]",
    "shape   ": "[1, 2, 2, {}]",
    "data": "{}",
    "data ": "[{}, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]",
    "own": "{}",
    "own ": '{{"binary_data_size": {}}}',
    "out": "{}",
    "wanted": "{}",
    "wanted ": '{{"binary_data": {}}}',
    "input": "{}",
    "inputs": "{}",
    "output": "{}",
    "outputs": "{}",
}
NO_JSON = ["NaN", "Infinity", "-Infinity", "0x10", "1_000", "01", "+1", ".5", "1.", "1e", "'a'", "None", "True", "1L",
           "\uff19", ",", '{"a": 1, "a": 1}', '"\ud800'.encode("utf-8", "surrogatepass").decode("latin-1"),
           "[" * 10_000, '{"a":' * 10_000, "9" * 5_000]  # fmt: skip
WRONG = ["null", "1e999", "-1e999", "1e308", "-1", "0.5", "1.0", "2147483648", "18446744073709551616", "1" + "0" * 400,
         "9" * 4_200, "true", '"NaN"', '""', '"' + "x" * 300_000 + '"', "[[1]]", "[null]", '["a"]', '{"a": 1}',
         "[" * 500 + "]" * 500, '{"a":' * 500 + "1" + "}" * 500]  # fmt: skip
RIGHT = {("id", '"NaN"'), ("id", '""'), ("all ", "true"), ("wanted ", "true")}


@pytest.mark.parametrize("place", PLACES)
def test_every_field_of_an_inference(place, client):
    for value in NO_JSON:
        text = text_of(**{place.strip(): PLACES[place].format(value)})
        refused(post(client, INFER, data=text.encode()), 400, *((413, 422) if value[0] in "[{" else ()))
    for value in WRONG:
        text = text_of(**{place.strip(): PLACES[place].format(value)})
        answer = post(client, INFER, data=text.encode())
        if (place, value) in RIGHT:
            assert answer.status_code == 200
        else:
            refused(answer)
    assert post(client, INFER, data=text_of().encode()).status_code == 200


@pytest.mark.parametrize("kind", ["UINT8", "FP32"])
@pytest.mark.parametrize("value", ["1e999", "true", "null", '"1"', "[1]", "{}", "1" + "0" * 400, "-1e400", "1e39"])
def test_values_of_a_tensor(kind, value, client):
    shape, count = ("[1, 64, 64, 3]", 64 * 64 * 3)
    text = text_of(shape=shape, datatype=f'"{kind}"', data=f"[{value}{', 1' * (count - 1)}]")
    refused(post(client, INFER, data=text.encode()), 422)
    nested = f"[[[[{value}, 1, 1]{', [1, 1, 1]' * 63}]{', [' + ', '.join(['[1, 1, 1]'] * 64) + ']'}]]"
    refused(post(client, INFER, data=text_of(shape=shape, datatype=f'"{kind}"', data=nested).encode()), 422)


@pytest.mark.parametrize(
    "data",
    [
        ["a" * 3_000_000, *[1] * 100_000],
        ["a" * 1_000_000, *[""] * 500],
        [[]] * 3_000_000,
        [{}] * 3_000_000,
        [[[[[1]]]]] * 500_000,
        [1] * 6_000_000,
        ["ab"] * 2_000_000,
    ],
    ids=["a long string", "strings", "lists", "objects", "nested lists", "numbers", "short strings"],
)
def test_json_that_would_take_memory(data, client):
    """Two strings, one of them long, became an array of both, of gigabytes."""
    body = text_of(data=json.dumps(data, separators=(",", ":"))).encode()
    refused(post(client, INFER, data=body))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig", "latin-1"])
def test_json_is_utf_8(encoding, client):
    refused(post(client, INFER, data=text_of(id='"é"').encode(encoding)), 400)
    assert post(client, INFER, data=text_of(id='"é😀"').encode()).json["id"] == "é😀"


def test_long_shapes_and_ids_are_not_repeated(client):
    for fields in ({"shape": f"[{'1, ' * 90_000}1]"}, {"shape": f"[1, {'7' * 4000}, {'7' * 4000}, 3]"}):
        assert "must be [N, H, W, 3]" in refused(post(client, INFER, data=text_of(**fields).encode()), 422)
    refused(post(client, INFER, data=text_of(id='"' + "x" * 1001 + '"').encode()), 422)


def test_binary_tensors_that_lie(client):
    image = FEW[:1]
    said = {"name": "images", "shape": list(image.shape), "datatype": "UINT8"}

    pixels = image.tobytes()

    def send(size, binary=pixels, **more):
        text = json.dumps({"inputs": [{**said, "parameters": {"binary_data_size": size}, **more}]}).encode()
        head = {"Inference-Header-Content-Length": str(len(text))}
        return post(client, INFER, data=text + binary, headers=head)

    assert send(image.nbytes).status_code == 200
    for size in (0, -1, image.nbytes - 1, 10**9, 2**63, 10**400, 3072.0, True, "3072", None, [3072]):
        refused(send(size), 400, 422)
    refused(send(image.nbytes, b""), 400)
    refused(send(image.nbytes, data=[1]), 422)
    refused(send(1, b"x", shape=[1, 1, 1, 3]), 400)
    for length in ("0", "-1", "1e2", "0x10", "1_0", "٣", " 5 5", "9" * 11, "9" * 5000, "5, 5"):
        answer = client.post(
            INFER, data=b"{}", headers={"Inference-Header-Content-Length": length.encode().decode("latin-1")}
        )
        refused(answer, 400)


def raw_npy(header, data=PIXELS, version=b"\1\0"):
    text = header.encode() if isinstance(header, str) else header
    return b"\x93NUMPY" + version + struct.pack("<H" if version == b"\1\0" else "<I", len(text)) + text + data


def npy_header(descr="'|u1'", order="False", shape="(1, 2, 2, 3)"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


@pytest.mark.parametrize("shape", [
    "(1, 2, 2, 3", "[1, 2, 2, 3]", "1", "()", "(,)",
    "(1, 2, 2, -3)", "(1, 2, 2, 3.0)", "(1, 2, 2, 0x3)", "(1, 2, 2, 0_3)",
    "(1, 2, 2, 3L)", "(1, 2, 2, 1e999)", "(1, 2, 2, nan)", "(1, 2, 2, True)", "(1, 2, 2, None)", "(1, 2, 2, '3')",
    "(1, 2, 2, (3,))", "(1, 2, 2, 03)", "(1, 2, 2,, 3)", "(1 2 2 3)", "(1, 0, 2, 3)", "(2, 2, 2, 3)", "(1, 2, 2, 3, 1)",
    f"(1, {2**62}, {2**62}, 3)", f"(1, {10**400}, 2, 3)", f"(1, {'7' * 4000}, {'7' * 4000}, 3)", f"({2**64}, 2, 2, 3)",
    "(1, " * 900, "(" * 3000, "-" * 3000 + "1", "(" + "1, " * 2000 + ")", "(1, 2, 2, 3) + (1,)", "(1, 2, 2, \uff13)",
    "(1, 1_000_000_000, 1_000_000_000, 3)",
], ids=lambda shape: shape[:40])  # fmt: skip
def test_shapes_in_headers_of_npy(shape, client):
    refused(post(client, "/predict", data=raw_npy(npy_header(shape=shape)), content_type=NPY), 400, 413, 422)


@pytest.mark.parametrize("header", [
    npy_header(descr="'f4,f4'"), npy_header(descr="[('a', '|u1')]"), npy_header(descr="'u1'*3"), npy_header(descr="u1"),
    npy_header(descr="'|u999999999'"), npy_header(descr="'V999999999'"), npy_header(descr="'a1'"),
    npy_header(descr="'|b1'"),
    npy_header(descr="'|u1'"[:2] + "x" * 9000 + "'"), npy_header(descr="b'|u1'"), npy_header(descr="None"),
    npy_header(order="0"), npy_header(order="None"), npy_header(order="'False'"), npy_header(order="True"),
    npy_header().replace("}", "'shape': (1, 2, 2, 3)}"), npy_header().replace("'descr'", "'shape'"),
    npy_header().replace("}", "'more': 1}"), npy_header() + "{}", "{}", "", "\0" * 50, "{" * 9000,
    npy_header().replace("'shape': (1, 2, 2, 3)", ""), "__import__('os').system('true')", b"\xff\xfe" * 30,
    npy_header() + " " * 10_000,
], ids=lambda header: str(header)[:60])  # fmt: skip
def test_other_fields_in_headers_of_npy(header, client):
    refused(post(client, "/predict", data=raw_npy(header), content_type=NPY), 400, 422)


def test_headers_of_npy_that_others_write(client):
    """Other spacing, another order, double quotes, the second version: plain arrays are read as NumPy reads them."""
    for header in (
        npy_header(),
        '{"shape":(1,2,2,3),"fortran_order":False,"descr":"|u1"}',
        "{ 'fortran_order' : False ,\n'descr' : 'u1' , 'shape' : ( 1 , 2 , 2 , 3 , ) , }" + " " * 300,
    ):
        for version in (b"\1\0", b"\2\0"):
            body = raw_npy(header, version=version)
            assert (read_npy(body, "it", lambda _: None) == np.load(io.BytesIO(body))).all()
            assert client.post("/predict", data=body, content_type=NPY).status_code == 200


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(
    st.sampled_from(["|u1", "<f4", ">f4", "<f8", "|b1", "<u2"]),
    st.lists(st.integers(0, 4), max_size=5).map(tuple),
    st.booleans(),
    st.binary(max_size=2),
)
def test_arrays_are_read_as_numpy_reads_them(descr, shape, fortran, more):
    body = npy(np.zeros(shape, descr, order="F" if fortran else "C")) + more
    try:
        values = read_npy(body, "it", lambda _: None)
    except ServingError as error:
        assert error.status in {400, 422}  # noqa: PT017 - some are right
    else:
        assert not more
        assert values.shape == shape
        assert values.dtype == np.dtype(descr)


def tensor_file(header, data=PIXELS):
    text = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor_header(dtype='"U8"', shape="[1, 2, 2, 3]", offsets="[0, 12]", more=""):
    return f'{{"a": {{"dtype": {dtype}, "shape": {shape}, "data_offsets": {offsets}{more}}}}}'


@pytest.mark.parametrize("place", ["dtype", "shape", "offsets", "size", "offset"])
def test_every_field_in_headers_of_safetensors(place, client):
    formats = {"size": ("shape", "[1, 2, {}, 3]"), "offset": ("offsets", "[0, {}]")}
    field, form = formats.get(place, (place, "{}"))
    for value in (*NO_JSON, *WRONG):
        body = tensor_file(tensor_header(**{field: form.format(value)}))
        refused(post(client, "/predict", data=body, content_type=TENSORS), 400, 413, 422)
    assert client.post("/predict", data=tensor_file(tensor_header()), content_type=TENSORS).status_code == 200


@pytest.mark.parametrize("header", [
    "null", "[]", "{}", "1", '{"a": 1}', '{"a": {}}', '{"__metadata__": {}}', '{"__metadata__": 1}',
    tensor_header(more=', "more": 1'), tensor_header(more=', "dtype": "U8"'), tensor_header(offsets="[0, 11]"),
    tensor_header(offsets="[1, 12]"), tensor_header(offsets="[0]"), tensor_header(offsets="[12, 0]"),
    tensor_header(shape="[1, 2, 2, 3, 1]"), tensor_header(shape="[]"), tensor_header(dtype='"' + "x" * 3000 + '"'),
    tensor_header() + tensor_header(), tensor_header()[:-1] + ', "a": {}}', tensor_header() + " " * 10_000,
    f"{{{','.join(f'{n}: 1' for n in range(1000))}}}", b"\xff\xfe{}", '{"a": ' * 1500,
], ids=lambda header: str(header)[:60])  # fmt: skip
def test_headers_of_safetensors(header, client):
    refused(post(client, "/predict", data=tensor_file(header), content_type=TENSORS), 400, 413, 422)


def test_safetensors_that_the_library_writes():
    for values in (SMALL, np.full((1, 3, 8, 8), 0.5, np.float32)):
        body = safetensors.numpy.save({"it": values}, metadata={"format": "np"})
        assert (read_safetensors(body, "it", lambda _: None) == values).all()


def test_what_is_repeated_is_cut(client):
    long = "x" * 5_000
    for answer in (
        client.post("/predict", data=npy(FEW), content_type=f"image/{long}"),
        client.post("/predict", data={long: (io.BytesIO(b"x"), "a", "text/plain")}),
        client.post("/predict", data={"a\n\x1b[2Jb": (io.BytesIO(b"x"), "a", "text/plain")}),
        client.post(f"/predict?top={long}", data=npy(FEW)),
        client.post(f"/predict?timeout_ms={long}", data=npy(FEW)),
        client.post(f"/v2/models/{long}/infer", data=b"{}"),
        client.post(f"/{long}"),
        client.post(INFER, data=text_of(more="1", name=f'"{long}"').encode()),
        client.post(INFER, data=f'{{"{long}": 1}}'.encode()),
        client.post("/predict", data=tensor_file(tensor_header(dtype=f'"{long}"')), content_type=TENSORS),
    ):
        error = refused(answer, 400, 404, 415, 422)
        assert "x" * 201 not in error
        assert error.isprintable()


def test_shown():
    assert strict.shown("x" * 200) == "x" * 200
    assert strict.shown("x" * 201) == "x" * 199 + "…"
    assert strict.shown([1, 2]) == "[1, 2]"
    assert len(strict.shown("\0" * 1000)) == 200


@pytest.mark.parametrize("text", ["1_0", "0x10", "1e999", "inf", "infinity", "-inf", "nan", "٣", " 5", "5 ", "+5", "5.",
                                  ".5", "05", "-5", "0", "-0", "1e-999", "5,0", "5ms", "", "1" * 300])  # fmt: skip
def test_numbers_in_a_query(text, client):
    for name in ("timeout_ms", "top"):
        refused(client.post("/predict", query_string={name: text}, data=npy(FEW)), 400)


def test_numbers_in_a_query_that_are_right(client):
    for text in ("5000", "5e3", "5000.5"):
        assert client.post(f"/predict?timeout_ms={text}", data=npy(FEW)).status_code == 200


PRECISIONS = ["float32", "int8", *(["bfloat16"] if BFLOAT16 else [])]
EXTREME = [3.4e38, -3.4e38, 1e38, -1e30, 1e25, 1e20, -1e15, 1e-45, -1e-38]


@pytest.fixture(scope="module", params=PRECISIONS)
def by_precision(request, small_cache):
    app = VARIANTS[best_of(VARIANTS)](ServingConfig(model=TINY, precision=request.param))
    app.extensions["serving"].loaded(60)
    yield app.test_client()
    app.extensions["serving"].close()


def finite_or_refused(client, images):
    answer = client.post("/predict?top=10", data=npy(images), content_type=NPY)
    json.loads(answer.text, parse_constant=no_constant)
    if answer.status_code != 200:
        assert "no finite answer" in refused(answer, 422)
        return False
    for prediction in answer.json["predictions"]:
        assert abs(sum(entry["probability"] for entry in prediction["top"]) - 1) < 1e-3
    return True


@pytest.mark.parametrize("where", ["everywhere", "in one pixel", "with both signs"])
def test_extreme_images(where, by_precision):
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2)).numpy()
    before = kinds_of(by_precision.post("/predict", data=npy(image), content_type=NPY).json)
    for value in EXTREME:
        extreme = image.copy()
        if where == "in one pixel":
            extreme[0, 1, 5, 5] = value
        elif where == "everywhere":
            extreme[:] = value
        else:
            extreme[:] = np.where(extreme > 0.5, value, -value)
        finite_or_refused(by_precision, extreme)
        if finite_or_refused(by_precision, np.concatenate([image, extreme])):
            both = by_precision.post("/predict", data=npy(np.concatenate([image, extreme])), content_type=NPY)
            assert kinds_of(both.json)[:1] == before, "an extreme image changed another one's answer"
        assert kinds_of(by_precision.post("/predict", data=npy(image), content_type=NPY).json) == before


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
def test_generated_extreme_images(by_precision, values):
    finite_or_refused(by_precision, np.resize(np.array(values, np.float32), (1, 3, 64, 64)))


def test_extreme_tensors_by_the_other_protocol(client):
    raw = np.full((1, 3, 64, 64), 3e38, "<f4").tobytes()
    said = {"name": "images", "shape": [1, 3, 64, 64], "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}
    text = json.dumps({"inputs": [said]}).encode()
    head = {"Inference-Header-Content-Length": str(len(text))}
    refused(client.post(INFER, data=text + raw, headers=head), 422)


def test_weights_that_are_not_finite_end_the_start(monkeypatch, small_cache):
    prepare = precision.prepare

    def broken(config):
        prepared = prepare(config)
        object.__setattr__(prepared, "run", lambda images: torch.full((len(images), 10), torch.nan))
        return prepared

    monkeypatch.setattr("impl.serving.runtime.service.prepare", broken)
    app = VARIANTS[best_of(VARIANTS)](ServingConfig(model=TINY, precision="float32"))
    with pytest.raises(ValueError, match="has no finite answer for a black image"):
        app.extensions["serving"].loaded(60)
    app.extensions["serving"].close()
