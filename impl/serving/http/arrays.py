"""Arrays in .npy and safetensors: headers are read strictly, and checked against the length before anything is made.

NumPy's parser of headers evaluates a literal of Python, in which `1_0` and `0x10` are numbers, and a number may have
thousands of digits; safetensors' copies the tensors. The parsers here take the few fields of a plain array, and return
views of the body.
"""

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .errors import ServingError
from .strict import json_of, shown

__all__ = ["finite", "image_count", "npy", "safetensors"]

Array = NDArray[Any]
Count = Callable[[int], object]

HEADER = 10_000  # bytes; NumPy's own limit for the header of an array
LARGEST = 2**63 - 1  # what a dimension can be

FIELD = (
    r"\s*(?P<quote{0}>['\"])(?P<name{0}>descr|fortran_order|shape)(?P=quote{0})\s*:\s*"
    r"(?:(?P<other{0}>['\"])(?P<descr{0}>[<>=|]?[A-Za-z]\d{{0,9}}(?:\[\w{{1,9}}\])?)(?P=other{0})"
    r"|(?P<order{0}>True|False)|\((?P<shape{0}>[\d\s,]{{0,200}})\))\s*"
)
NPY = re.compile(r"\s*\{" + ",".join(FIELD.format(place) for place in range(3)) + r",?\s*\}\s*", re.ASCII)
DIMENSION = re.compile(r"\s*(0|[1-9]\d{0,18})\s*", re.ASCII)

# Datatypes of safetensors by NumPy's name.
TENSOR_TYPES = {"U8": "uint8", "F32": "float32"}


class Header(NamedTuple):
    """What a header says: the type, the order and the shape."""

    dtype: np.dtype[Any]
    fortran: bool
    shape: tuple[int, ...]


def finite(images: torch.Tensor, name: str) -> torch.Tensor:
    """Return float32 images unchanged, or refuse them if one of their numbers is not finite."""
    if not bool(torch.isfinite(images).all()):
        raise ServingError(422, f"{name} has numbers that are not finite")
    return images


def image_count(shape: tuple[int, ...], dtype: str, name: str) -> int:
    """Return the number of images in an array of a shape and dtype (by NumPy's name), or refuse these."""
    if dtype not in ("uint8", "float32"):
        raise ServingError(422, f"{name} is {shown(dtype)}, and must be uint8 or float32")
    if len(shape) != 4 or 3 not in (shape[1], shape[3]) or min(shape) < 1 or max(shape) > LARGEST:
        # A tuple of long numbers is not made into text: that takes a time that grows with their square.
        found = shown(list(shape)) if len(shape) < 30 and all(abs(size) <= LARGEST for size in shape) else "another one"
        raise ServingError(422, f"{name} has the shape {found}, and must be [N, H, W, 3] or [N, 3, H, W]")
    return shape[0]


def npy(body: bytes, name: str, count: Count) -> Array:
    """Return the array of a .npy file as a view of its bytes; the shape is checked against their length first."""
    start, header = _npy_header(body, name)
    if header.dtype.hasobject:
        raise ServingError(415, f"{name} holds pickled Python objects, and this server does not unpickle")
    dtype = header.dtype.name if header.dtype.isnative else str(header.dtype)
    image_count(header.shape, dtype, name)
    if header.fortran:
        raise ServingError(422, f"{name} is in Fortran order, and must be in C order")
    return _view(body, start, header, name, count)


def _npy_header(body: bytes, name: str) -> tuple[int, Header]:
    """Return where the data begin, and the header."""
    width = {b"\x93NUMPY\1\0": 2, b"\x93NUMPY\2\0": 4}.get(body[:8])
    length = int.from_bytes(body[8 : 8 + width], "little") if width and len(body) >= 8 + width else -1
    start = 8 + (width or 0)
    if not 0 < length <= min(HEADER, len(body) - start):
        raise ServingError(400, f"{name} is damaged: it has no valid .npy header")
    found = NPY.fullmatch(body[start : start + length].decode("latin-1"))
    fields = {found[f"name{place}"]: place for place in range(3)} if found else {}
    try:
        header = Header(
            np.dtype(_part(found, "descr", fields["descr"])),
            _part(found, "order", fields["fortran_order"]) == "True",
            _shape(_part(found, "shape", fields["shape"])),
        )
    except (KeyError, ValueError, TypeError, DeprecationWarning) as error:
        raise ServingError(400, f"{name} is damaged: it has no valid .npy header of a plain array") from error
    return start + length, header


def _part(found: re.Match[str] | None, kind: str, place: int) -> str:
    text: str | None = found[f"{kind}{place}"] if found else None
    if text is None:
        raise ValueError(f"the field is not of the type {kind}")
    return text


def _shape(text: str) -> tuple[int, ...]:
    sizes = text.split(",")
    if len(sizes) > 1 and not sizes[-1].strip():
        sizes.pop()
    found = [DIMENSION.fullmatch(size) for size in sizes]
    return tuple(int(size[1]) if size else -1 for size in found)


def safetensors(body: bytes, name: str, count: Count) -> Array:
    """Return the one tensor of a safetensors file as a view of its bytes; its header is checked first."""
    length = int.from_bytes(body[:8], "little")
    if len(body) < 8 or not 0 < length <= len(body) - 8:
        raise ServingError(400, f"{name} is damaged: it cannot be read as safetensors")
    if length > HEADER:
        raise ServingError(422, f"{name} has a header of {length} bytes; {HEADER} are the limit")
    tensors = json_of(body[8 : 8 + length], f"the header of {name}", HEADER)
    if not isinstance(tensors, dict) or not isinstance(tensors.pop("__metadata__", {}), dict):
        raise ServingError(400, f"{name} is damaged: its header is not that of safetensors")
    if len(tensors) != 1:
        raise ServingError(422, f"{name} holds {len(tensors)} tensors, and must hold one")
    (tensor,) = tensors.values()
    if not _is_tensor(tensor):
        raise ServingError(400, f"{name} is damaged: a tensor has a dtype, a shape and data_offsets, and nothing else")
    kind, shape = TENSOR_TYPES.get(tensor["dtype"], tensor["dtype"]), tuple(tensor["shape"])
    image_count(shape, kind, name)
    start, offsets = 8 + length, tensor["data_offsets"]
    if offsets != [0, len(body) - start]:
        raise ServingError(400, f"{name} is damaged: its tensor is at {shown(offsets)}, of {len(body) - start} bytes")
    return _view(body, start, Header(np.dtype(kind).newbyteorder("<"), fortran=False, shape=shape), name, count)


def _is_tensor(tensor: object) -> bool:
    return (
        isinstance(tensor, dict)
        and tensor.keys() == {"dtype", "shape", "data_offsets"}
        and isinstance(tensor["dtype"], str)
        and _whole(tensor["shape"])
        and _whole(tensor["data_offsets"])
    )


def _whole(numbers: object) -> bool:
    """Return whether these are a short list of numbers that can be sizes."""
    return (
        isinstance(numbers, list) and len(numbers) < 30 and all(type(n) is int and 0 <= n <= LARGEST for n in numbers)
    )


def _view(body: bytes, start: int, header: Header, name: str, count: Count) -> Array:
    """Return the array behind a header; its length and the number of images are checked."""
    dtype, _, shape = header
    size = math.prod(shape) * dtype.itemsize
    if len(body) - start != size:
        raise ServingError(
            400, f"{name} says {list(shape)} of {dtype}, which is {size} bytes, and has {len(body) - start}"
        )
    count(shape[0])
    return np.frombuffer(body, dtype, offset=start).reshape(shape)
