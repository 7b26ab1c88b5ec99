"""The request of an inference by KServe's protocol, version 2: JSON, and the bytes of a binary tensor behind it.

Every field has one type. One that is unknown is refused and not ignored: its client would get something else than it
asked for.
"""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch

from .arrays import finite, image_count
from .errors import ServingError
from .inputs import Decoder
from .strict import json_of, shown

__all__ = ["BINARY", "DTYPES", "INPUT", "LONGEST_ID", "OUTPUT", "Inference", "read_inference"]

INPUT, OUTPUT = "images", "probabilities"
BINARY = "Inference-Header-Content-Length"  # the header with the length of the JSON before binary tensors
DTYPES = {"UINT8": "uint8", "FP32": "float32"}
LONGEST_ID = 1_000  # characters
DEEPEST = 8  # levels of lists in data

TYPES = {str: "a string", bool: "true or false", int: "a whole number", list: "a list", dict: "an object"}


@dataclass(frozen=True)
class Inference:
    """What a request asks for.

    Attributes:
        images: uint8 or float32 [N, 3, side, side].
        id: To be repeated in the answer.
        binary_output: Whether the probabilities are to be sent as bytes.
    """

    images: torch.Tensor
    id: str | None
    binary_output: bool


def read_inference(text: bytes, binary: bytes, decoder: Decoder) -> Inference:
    """Return what a request asks for.

    Args:
        text: Its JSON.
        binary: The bytes behind that.
        decoder: The decoder for the model and its limits.

    Raises:
        ServingError: 400, 413 or 422, with the reason.
    """
    request = json_of(text, "the request", decoder.max_images * decoder.side**2 * 3)
    if not isinstance(request, dict):
        raise ServingError(400, "the request is JSON, but not an object")
    _expect_known(request, ("id", "parameters", "inputs", "outputs"), "the request", "member")
    own_id = _member(request, "id", str, "the request")
    if own_id is not None and len(own_id) > LONGEST_ID:
        raise ServingError(422, f"the id has {len(own_id)} characters; {LONGEST_ID} are the limit")
    wanted = _parameter(request, "binary_data_output", bool, "the request")
    outputs = _member(request, "outputs", list, "the request") or []
    if len(outputs) > 1 or not all(isinstance(output, dict) and output.get("name") == OUTPUT for output in outputs):
        raise ServingError(422, f"the only output is {OUTPUT!r}")
    for output in outputs:
        _expect_known(output, ("name", "parameters"), "the output", "member")
        own = _parameter(output, "binary_data", bool, "the output")
        wanted = wanted if own is None else own
    booleans = b"true" in text or b"false" in text
    return Inference(_images(request, binary, decoder, booleans=booleans), own_id, wanted is True)


def _images(request: Mapping[str, Any], binary: bytes, decoder: Decoder, *, booleans: bool) -> torch.Tensor:
    """Return the images; `booleans` says whether there may be any among the data, which are numbers to Python."""
    inputs = _member(request, "inputs", list, "the request")
    if not inputs or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise ServingError(422, "there must be one input, a tensor of images")
    (tensor,) = inputs
    _expect_known(tensor, ("name", "shape", "datatype", "parameters", "data"), "the input", "member")
    if (named := _member(tensor, "name", str, "the input")) != INPUT:
        raise ServingError(422, f"the only input is {INPUT!r}, and not {shown(repr(named))}")
    shape = _member(tensor, "shape", list, "the input") or []
    if not all(type(size) is int for size in shape):
        raise ServingError(422, "the shape must be a list of whole numbers")
    dtype = DTYPES.get(_member(tensor, "datatype", str, "the input") or "")
    if dtype is None:
        raise ServingError(422, f"the datatype must be one of {', '.join(DTYPES)}")
    decoder.check_count(image_count(tuple(shape), dtype, "the input"))
    count = int(np.prod(shape, dtype=object))
    size = _parameter(tensor, "binary_data_size", int, "the input")
    data = _member(tensor, "data", list, "the input")
    if (size is None) == (data is None):
        raise ServingError(422, "the input has no data, or both a list and binary data")
    if data is None:
        values = _from_binary(binary, size or 0, dtype, count)
    elif binary:
        raise ServingError(
            400, f"there are {len(binary)} bytes behind the JSON, and no input says that they are its data"
        )
    else:
        values = _from_json(data, dtype, count, booleans=booleans)
    images = decoder.array(values.reshape(shape), "the input")
    return finite(images, "the input") if dtype == "float32" else images


def _expect_known(members: Mapping[str, Any], known: tuple[str, ...], where: str, what: str) -> None:
    for name in members:
        if name not in known:
            raise ServingError(422, f"{where} has the unknown {what} {shown(repr(name))}; known are {', '.join(known)}")


def _member(members: Mapping[str, Any], name: str, kind: type, where: str) -> Any:
    """Return a member of an object, None if it is not there; it must be of one type."""
    if name not in members:
        return None
    if type(members[name]) is not kind:
        raise ServingError(422, f"{name} of {where} must be {TYPES[kind]}")
    return members[name]


def _parameter(members: Mapping[str, Any], name: str, kind: type, where: str) -> Any:
    """Return the only parameter that an object may have, None if it is not there."""
    parameters = _member(members, "parameters", dict, where) or {}
    _expect_known(parameters, (name,), where, "parameter")
    return _member(parameters, name, kind, where)


def _from_binary(binary: bytes, size: int, dtype: str, count: int) -> Any:
    """Return `count` values of the bytes behind the JSON."""
    little_endian = np.dtype(dtype).newbyteorder("<")
    if size != len(binary) or count * little_endian.itemsize != len(binary):
        said = size if abs(size) < 2**63 else "more"
        raise ServingError(
            400, f"the input says {count} values of {dtype} and {said} bytes; there are {len(binary)} bytes"
        )
    return np.frombuffer(binary, little_endian)


def _from_json(data: list[Any], dtype: str, count: int, *, booleans: bool) -> Any:
    """Return `count` values of a JSON list, flat or nested."""
    flat = data
    for _ in range(DEEPEST):
        if not any(isinstance(value, list) for value in flat[:1]):
            break
        if not all(isinstance(value, list) and len(value) == len(flat[0]) for value in flat):
            raise ServingError(422, "the data are of different lengths")
        flat = list(chain.from_iterable(flat))
    if len(flat) != count:
        raise ServingError(422, f"the shape says {count} values, and there are {len(flat)}")
    # Not by numpy.array, which turns anything into an array: two strings, one of them long, into gigabytes.
    try:
        values: Any = array("B" if dtype == "uint8" else "d", flat)
    except TypeError as error:
        raise ServingError(422, f"the data are not all numbers of {dtype}, or nested too deeply") from error
    except OverflowError as error:
        limits = "0 .. 255" if dtype == "uint8" else "the range of float32"
        raise ServingError(422, f"some of the data are not in {limits}") from error
    if booleans and bool in set(map(type, flat)):
        raise ServingError(422, f"the data are not all numbers of {dtype}")
    with np.errstate(over="ignore"):  # numbers beyond float32 become infinite, and those are refused
        return np.frombuffer(values, values.typecode).astype(dtype, copy=False)
