"""From the body of a request to images, uint8 or float32 [N, 3, side, side]; every size is checked before it is used.

JPEG and PNG pictures and uint8 arrays are resized by Pillow, as torchvision's Resize does it, so that clients can send
32 x 32 originals. float32 arrays must have the model's size already. Nothing here unpickles.
"""

import io
import math
import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from werkzeug import Request

from .arrays import finite, npy, safetensors
from .errors import ServingError
from .strict import shown

__all__ = ["ACCEPTED", "Decoder"]

Array = NDArray[Any]

PICTURES = ("image/jpeg", "image/jpg", "image/png")
ARRAYS = ("application/x-npy", "application/npy", "application/x-numpy")
TENSORS = ("application/safetensors", "application/x-safetensors", "application/vnd.safetensors")
ACCEPTED = ("image/jpeg", "image/png", "application/x-npy", "application/safetensors", "multipart/form-data of these")
# These types say nothing of the content; its first bytes do.
GENERIC = ("", "application/octet-stream", "binary/octet-stream")


class Decoder:
    """Reads the images of requests, for a model that takes `side` by `side` pixels."""

    def __init__(self, side: int, max_images: int, max_pixels: int) -> None:
        """Set the limits: images per request, and pixels per picture."""
        self.side, self.max_images, self.max_pixels = side, max_images, max_pixels

    def images(self, request: Request) -> torch.Tensor:
        """Return the images of a request, in its order.

        Raises:
            ServingError: 400, 413, 415 or 422, with the reason.
        """
        parts: list[torch.Tensor] = []
        left = self.max_images
        for kind, name, body in _bodies(request):
            part = self._decoded(kind, name, body, left)
            if parts and part.dtype != parts[0].dtype:
                raise ServingError(422, "some parts are float32 and some are not: send them in separate requests")
            parts.append(part)
            left -= len(part)
        if not parts:
            raise ServingError(400, "there are no images in the request")
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _decoded(self, kind: str, name: str, body: bytes, left: int) -> torch.Tensor:
        if not body:
            raise ServingError(400, f"{name} is empty")
        kind = _media_type(kind, body)
        if kind in PICTURES:
            self.check_count(1, left)
            return self.picture(body, name)
        if kind in ARRAYS:
            return self.array(npy(body, name, lambda count: self.check_count(count, left)), name)
        if kind in TENSORS:
            return self.array(safetensors(body, name, lambda count: self.check_count(count, left)), name)
        raise ServingError(415, f"{name} is {shown(kind) or 'of an unknown type'}; accepted are {', '.join(ACCEPTED)}")

    def check_count(self, count: int, left: int | None = None) -> None:
        """Check a number of images against the limit, or against the rest of it that is left."""
        if count > (self.max_images if left is None else left):
            raise ServingError(413, f"there are more than {self.max_images} images in the request, which is the limit")

    def picture(self, body: bytes, name: str) -> torch.Tensor:
        """Return uint8 [1, 3, side, side] of a JPEG or a PNG; its size is checked before it is decompressed."""
        try:
            with Image.open(io.BytesIO(body), formats=("JPEG", "PNG")) as picture:
                width, height = picture.size
                if width * height > self.max_pixels:
                    raise ServingError(  # noqa: TRY301 - the file is open
                        413, f"{name} has {width} x {height} pixels; {self.max_pixels:,} in all are the limit"
                    )
                return self._resized([picture.convert("RGB")])
        except ServingError:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise ServingError(413, f"{name} has more pixels than the limit of {self.max_pixels:,}") from error
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
    for name, file in request.files.items(multi=True):
        yield file.mimetype, f"part {shown(repr(name))}", file.read()
    if request.form and not request.files:
        raise ServingError(400, "the form has values and no files: send images as files")


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
