"""From the body of a request to images, uint8 or float32 [N, 3, side, side]; every size is checked before it is used.

JPEG and PNG pictures are read as a viewer shows them (`colours`). They and uint8 arrays are resized by Pillow, as
torchvision's Resize does it, so that clients can send 32 x 32 originals. float32 arrays must have the model's size
already. No other format is opened, and nothing here unpickles.
"""

import io
import math
import mmap
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from werkzeug import Request

from .arrays import finite, npy, safetensors
from .colours import as_shown
from .errors import ServingError
from .headers import Lean, lean
from .strict import shown

__all__ = ["ACCEPTED", "Decoder"]

Array = NDArray[Any]

PICTURES = ("image/jpeg", "image/jpg", "image/png")
ARRAYS = ("application/x-npy", "application/npy", "application/x-numpy")
TENSORS = ("application/safetensors", "application/x-safetensors", "application/vnd.safetensors")
ACCEPTED = ("image/jpeg", "image/png", "application/x-npy", "application/safetensors", "multipart/form-data of these")
PLAIN = ("", "identity", "binary", "8bit", "7bit")  # encodings of a part that change nothing
# These types say nothing of the content; its first bytes do.
GENERIC = ("", "application/octet-stream", "binary/octet-stream")


class Budget:
    """What one request may still ask for: images, and pixels of all its pictures together."""

    def __init__(self, images: int, pixels: int) -> None:
        """Start with the limits."""
        self.max_images, self.max_pixels = self.images, self.pixels = images, pixels

    def take(self, images: int, pixels: int, name: str) -> None:
        """Take images of so many pixels, all together, or refuse them."""
        self.images -= images
        self.pixels -= pixels
        if self.images < 0:
            raise ServingError(413, f"there are more than {self.max_images} images in the request, which is the limit")
        if self.pixels < 0:
            raise ServingError(
                413, f"with {name}, the request has more pixels to decode than its limit of {self.max_pixels:,}"
            )


class Decoder:
    """Reads the images of requests, for a model that takes `side` by `side` pixels."""

    def __init__(self, side: int, max_images: int, max_pixels: int) -> None:
        """Set the limits of a request: images, and pixels of all its pictures together."""
        self.side, self.max_images, self.max_pixels = side, max_images, max_pixels

    def images(self, request: Request) -> torch.Tensor:
        """Return the images of a request, in its order. The headers of all are checked before one is decoded.

        Raises:
            ServingError: 400, 413, 415 or 422, with the reason.
        """
        budget = Budget(self.max_images, self.max_pixels)
        opened = [self._opened(*part, budget) for part in _bodies(request)]
        if not opened:
            raise ServingError(400, "there are no images in the request")
        parts = [decode() for decode in opened]
        if len({part.dtype for part in parts}) > 1:
            raise ServingError(422, "some parts are float32 and some are not: send them in separate requests")
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _opened(self, kind: str, name: str, body: bytes, budget: Budget) -> Callable[[], torch.Tensor]:
        """Check the header of a part, and return a function that decodes it."""
        if not body:
            raise ServingError(400, f"{name} is empty")
        kind = _media_type(kind, body)
        if kind in PICTURES:
            header = lean(body, name)
            budget.take(1, header.cost, f"{name} of {header.width} x {header.height} pixels")
            return partial(self._picture, header, name)
        if kind in ARRAYS or kind in TENSORS:
            read = npy if kind in ARRAYS else safetensors
            values = read(body, name, lambda images: budget.take(images, 0, name))
            return partial(self.array, values, name)
        raise ServingError(415, f"{name} is {shown(kind) or 'of an unknown type'}; accepted are {', '.join(ACCEPTED)}")

    def check_count(self, count: int) -> None:
        """Check a number of images against the limit."""
        Budget(self.max_images, self.max_pixels).take(count, 0, "it")

    def picture(self, body: bytes, name: str) -> torch.Tensor:
        """Return uint8 [1, 3, side, side] of a JPEG or a PNG; its size is checked before it is decompressed."""
        decoded: torch.Tensor = self._opened("image/png", name, body, Budget(1, self.max_pixels))()
        return decoded

    def _picture(self, header: Lean, name: str) -> torch.Tensor:
        try:
            with Image.open(io.BytesIO(header.body), formats=(header.format,)) as picture:
                if picture.size != (header.width, header.height):
                    raise ValueError("Pillow reads another size")  # noqa: TRY301 - the file is open
                return self._resized([as_shown(picture, header.orientation)])
        except Exception as error:  # Pillow raises many types of exceptions for damaged files
            raise ServingError(400, f"{name} is damaged: it cannot be read as a JPEG or a PNG") from error

    def array(self, values: Array, name: str) -> torch.Tensor:
        """Return images, uint8 or float32 [N, 3, side, side], of an array whose shape `image_count` accepted."""
        channels_last = values.shape[3] == 3
        if values.dtype == np.uint8:
            pictures = values if channels_last else values.transpose(0, 2, 3, 1)
            height, width = pictures.shape[1:3]
            if height * width > self.max_pixels:
                raise ServingError(413, f"{name} has pictures of {width} x {height} pixels; the limit is less")
            if (height, width) == (self.side, self.side):
                # A copy: the request's body is read-only, and torch warns of read-only arrays.
                return torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy())
            return self._resized([Image.fromarray(picture) for picture in np.ascontiguousarray(pictures)])
        pixels = values.transpose(0, 3, 1, 2) if channels_last else values
        if pixels.shape[2:] != (self.side, self.side):
            raise ServingError(
                422,
                f"{name} is float32 of {pixels.shape[3]} x {pixels.shape[2]} pixels, and must be of {self.side} x "
                f"{self.side}; the server resizes uint8 only",
            )
        return finite(torch.from_numpy(pixels.astype(np.float32, order="C", copy=True)), name)

    def _resized(self, pictures: list[Image.Image]) -> torch.Tensor:
        """Return the pictures, resized, in memory that is mapped for them.

        They live as long as they wait in the queue. On the heap, between the short-lived buffers of decoding, they
        fragmented it: in overload memory grew by 114 MiB, and mapped by 61 (AMD EPYC (Zen 5), 2 cores, 2026-11-23).
        """
        shape = len(pictures), self.side, self.side, 3
        pixels = np.frombuffer(mmap.mmap(-1, math.prod(shape)), np.uint8).reshape(shape)
        size = (self.side, self.side)
        for image, picture in zip(pixels, pictures, strict=True):
            image[:] = np.asarray(picture if picture.size == size else picture.resize(size, Image.Resampling.BILINEAR))
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def _bodies(request: Request) -> Iterator[tuple[str, str, bytes]]:
    """Yield the media type, a name for messages, and the bytes of each part of a request."""
    if request.mimetype != "multipart/form-data":
        body = request.get_data(cache=False)
        if not body:
            raise ServingError(400, "the request has no body")
        yield request.mimetype, "the body", body
        return
    for name in request.form:
        raise ServingError(
            400,
            f"the form has the value {shown(repr(name))} beside files: send images as files, parameters in the query",
        )
    for name, file in request.files.items(multi=True):
        part = f"part {shown(repr(name))}"
        for header in ("Content-Encoding", "Content-Transfer-Encoding"):
            if (encoding := file.headers.get(header, "binary").strip().lower()) not in PLAIN:
                raise ServingError(415, f"{part} is encoded as {shown(repr(encoding))}: send it as it is")
        yield file.mimetype, part, file.read()


def _media_type(kind: str, body: bytes) -> str:
    """Return the media type that a part declares, or, if that is generic, the one that its first bytes show."""
    if kind not in GENERIC:
        return kind
    for start, found in ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG", "image/png"), (b"\x93NUMPY", ARRAYS[0])):
        if body.startswith(start):
            return found
    if body[:1] == b"\x80" or body[:4] == b"PK\3\4":
        return "a pickle"
    if body[8:9] == b"{":
        return TENSORS[0]
    return kind
