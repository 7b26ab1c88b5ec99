"""The shape of a result: which parts it has and how large they are, whatever it is.

Sizes are of arrays and tensors, containers, text, files and HTTP answers. Numbers have none: a count that a benchmark
returns may be anything. Imports nothing but the standard library, see `compare.work`.
"""

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeAlias

DEPTH = 6  # levels of containers that are entered
ITEMS = 8  # of each container that are entered
PARTS = 200  # in all
CUT = "..."  # the place of what was not looked at, because there is more


@dataclass(frozen=True)
class Part:
    """One part of a result.

    Attributes:
        kind: what it is, such as "ndarray of uint8".
        least: its sizes: an array's dimensions, or the length of anything else; empty if it has none.
        greatest: likewise; more than `least` where calls of the same work differ.
        text: whether the size is a number of characters or bytes, which varies with what is written.
    """

    kind: str
    least: tuple[int, ...] = ()
    greatest: tuple[int, ...] = ()
    text: bool = False

    @property
    def fixed(self) -> bool:
        """Return whether the sizes are the same in all calls, and not those of text."""
        return self.least == self.greatest and not self.text

    def or_other(self, other: "Part") -> "Part":
        """Return what both are: the limits of their sizes, or the size in all where the dimensions are other ones."""
        if self.kind != other.kind:
            return Part(" or ".join(sorted({*self.kind.split(" or "), *other.kind.split(" or ")})))
        one, two = aligned(self, other)
        return Part(
            self.kind,
            tuple(map(min, one.least, two.least)),
            tuple(map(max, one.greatest, two.greatest)),
            self.text or other.text,
        )


Shape: TypeAlias = dict[str, Part]  # by place: "" is the result, ".tokens" its attribute, "[0]" an item, "[]" its texts


def aligned(one: Part, two: Part) -> tuple[Part, Part]:
    """Return both with the same number of dimensions: their own, or one, the number of elements."""
    if len(one.least) == len(two.least):
        return one, two
    return _flat(one), _flat(two)


def _flat(part: Part) -> Part:
    return Part(part.kind, (math.prod(part.least),), (math.prod(part.greatest),), part.text)


def shape_of(result: Any) -> Shape:
    """Return a result's shape.

    It is bounded by DEPTH, ITEMS and PARTS; what contains itself is entered once. Attributes that raise are left out.
    """
    shape: Shape = {}
    waiting: deque[tuple[str, Any, frozenset[int]]] = deque([("", result, frozenset())])
    while waiting:
        place, value, above = waiting.popleft()
        if len(shape) == PARTS:
            shape[CUT] = Part("more")
            break
        part = _part(value)
        shape[place] = shape[place].or_other(part) if place in shape else part
        if len(above) < DEPTH and id(value) not in above:
            waiting.extend((place + step, part, above | {id(value)}) for step, part in _parts(value))
    return shape


def either(one: Shape, two: Shape) -> Shape:
    """Return what two results of the same work have in common; the size of a container says what one of them lacks."""
    cut = {CUT: Part("more")} if CUT in one or CUT in two else {}
    return {place: part.or_other(two[place]) for place, part in one.items() if place in two} | cut


def _part(value: Any) -> Part:
    """Return what a value is by itself, without what is in it."""
    kind = type(value).__name__
    if isinstance(value, (str, bytes, bytearray, memoryview)):
        return _sized(kind, value.nbytes if isinstance(value, memoryview) else len(value), text=True)
    if isinstance(value, Path):
        return _file(value)
    dimensions = _attribute(value, "shape")
    if isinstance(dimensions, tuple) and all(isinstance(size, int) for size in dimensions):
        element = _attribute(value, "dtype")
        sizes = tuple(map(int, dimensions))
        return Part(kind if element is None else f"{kind} of {element}", sizes, sizes)
    if is_dataclass(value) and not isinstance(value, type):
        return _sized(kind, len(fields(value)))
    body = _attribute(value, "data")
    if isinstance(body, bytes):
        status = _attribute(value, "status_code")
        return _sized(f"{kind} {status}" if isinstance(status, int) else kind, len(body), text=True)
    return _counted(kind, value)


def _counted(kind: str, value: Any) -> Part:
    try:
        return _sized(kind, len(value)) if isinstance(value, Sized) and not isinstance(value, type) else Part(kind)
    except Exception:  # noqa: BLE001 - of an object of the benchmark's, which may raise anything
        return Part(kind)


def _file(path: Path) -> Part:
    try:
        return _sized("file", path.stat().st_size, text=True) if path.is_file() else Part("path")
    except OSError:
        return Part("path")


def _sized(kind: str, size: int, *, text: bool = False) -> Part:
    return Part(kind, (size,), (size,), text)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the first ITEMS of a container, each with what to add to its place."""
    try:
        if is_dataclass(value) and not isinstance(value, type):
            yield from [(f".{field.name}", getattr(value, field.name)) for field in fields(value)][:ITEMS]
        elif isinstance(value, Mapping):
            for number, (key, item) in zip(range(ITEMS), value.items(), strict=False):
                yield f"[{key!r}]" if isinstance(key, (str, int)) else f"[item {number}]", item
        elif isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray, memoryview, range)):
            for number, item in zip(range(ITEMS), value, strict=False):
                # The texts of a list have one place: each has another length as soon as they are drawn anew.
                alike = not isinstance(value, tuple) and _part(item).text
                yield "[]" if alike else f"[{number}]", item
    except Exception:  # noqa: BLE001 - as above
        return


def _attribute(value: Any, name: str) -> Any:
    """Return an attribute, or None if there is none or reading it raises. Classes have attributes for their objects."""
    if isinstance(value, type):
        return None
    try:
        return getattr(value, name, None)
    except Exception:  # noqa: BLE001 - as above
        return None
