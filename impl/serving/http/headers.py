"""The headers of pictures, read before anything is decoded: size, scans and frames; and the picture without the rest.

Pillow reads every part of a file when it opens it. It decompresses text that decoding does not need, and takes a
microsecond for each empty segment, of which 64 MB hold sixteen million. So it gets only the parts that decoding
needs, and only after their number and the size have been checked. The rest (text, colour profiles, previews, further
pictures) is left out.
"""

import re
import struct
from typing import NamedTuple

from .errors import ServingError

__all__ = ["Lean", "lean"]

CHUNKS = 20_000  # of a PNG; libpng writes one for each 8 kB
SEGMENTS = 1_000  # of a JPEG before its first scan; large colour profiles and descriptions have a few dozen
SCANS = 100  # of a JPEG; progressive ones have about 10
USUAL_SCANS = 10
UPRIGHT = 1  # EXIF's number of the usual orientation

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
KEPT_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT"}
SINGLE_CHUNKS = KEPT_CHUNKS - {b"IDAT"}
FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Frames, tables, the restart interval, and Adobe's and JFIF's notes, which say what the numbers mean.
KEPT_SEGMENTS = set(range(0xC0, 0xD0)) | {0xDB, 0xDD, 0xE0, 0xEE}
MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")


class Lean(NamedTuple):
    """A picture, reduced to what decoding needs.

    Attributes:
        body: The file.
        format: Pillow's name of its format.
        width, height: In pixels, as stored.
        cost: Pixels that are decoded; a JPEG's count again for every 10 scans.
        orientation: EXIF's number; 1 to 8 are defined.
    """

    body: bytes
    format: str
    width: int
    height: int
    cost: int
    orientation: int


def lean(body: bytes, name: str) -> Lean:
    """Return a picture reduced to what decoding needs, by its headers.

    Raises:
        ServingError: 400, it is no JPEG or PNG, or damaged; 413, it has too many parts; 422, it is animated.
    """
    try:
        if body.startswith(PNG):
            return _png(body, name)
        if body.startswith(JPEG):
            return _jpeg(body, name)
    except (struct.error, IndexError) as error:
        raise _damaged(name) from error
    raise _damaged(name)


def _damaged(name: str) -> ServingError:
    return ServingError(400, f"{name} is damaged: it cannot be read as a JPEG or a PNG")


def _png(body: bytes, name: str) -> Lean:
    view, kept, seen = memoryview(body), [memoryview(PNG)], set[bytes]()
    position, size, orientation = len(PNG), (0, 0), UPRIGHT
    for _ in range(CHUNKS):
        length, kind = struct.unpack_from(">I4s", body, position)
        end = position + 12 + length
        if end > len(body) or (not seen and (kind, length) != (b"IHDR", 13)):
            raise _damaged(name)
        if kind == b"IHDR" and not seen:
            size = struct.unpack_from(">II", body, position + 8)
        if kind == b"acTL":
            frames = struct.unpack_from(">I", body, position + 8)[0]
            raise ServingError(422, f"{name} is animated and says that it has {frames} frames: send one picture")
        if kind == b"IEND":
            kept.append(view[position:end])
            return Lean(b"".join(kept), "PNG", *size, size[0] * size[1], orientation)
        if kind == b"eXIf":
            orientation = _orientation(body[position + 8 : end - 4])
        misread = kind == b"tRNS" and body[24:26] == b"\x10\2"  # a colour of 48 bits, which Pillow compares with 24
        if kind in KEPT_CHUNKS and not misread and not (kind in SINGLE_CHUNKS and kind in seen):
            kept.append(view[position:end])
        seen.add(kind)
        position = end
    raise ServingError(413, f"{name} has more than {CHUNKS:,} chunks")


def _orientation(exif: bytes) -> int:
    """Return the orientation that EXIF gives in its first directory; damaged EXIF is ignored, as viewers do."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return UPRIGHT
    try:
        start = struct.unpack_from(f"{order}I", exif, 4)[0]
        for entry in range(struct.unpack_from(f"{order}H", exif, start)[0]):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, start + 2 + 12 * entry)
            if tag == 0x0112:
                return value if kind == 3 else UPRIGHT
    except struct.error:
        pass
    return UPRIGHT


def _jpeg(body: bytes, name: str) -> Lean:
    view, kept = memoryview(body), [memoryview(body)[:2]]
    position, size, orientation = 2, (0, 0), UPRIGHT
    for _ in range(SEGMENTS):
        fill = position
        while body[position + 1] == 0xFF and position - fill < SEGMENTS:
            position += 1
        marker, length = body[position + 1], struct.unpack_from(">H", body, position + 2)[0]
        end = position + 2 + length
        if body[position] != 0xFF or marker < 0xC0 or 0xD0 <= marker <= 0xD9 or length < 2 or end > len(body):
            raise _damaged(name)
        if marker in FRAMES:
            if size != (0, 0):
                raise _damaged(name)  # a second frame
            size = struct.unpack_from(">HH", body, position + 5)[::-1]
        if marker == 0xDA:
            scans = _scans(body, end, name)
            kept.append(view[position:])
            return Lean(b"".join(kept), "JPEG", *size, size[0] * size[1] * -(-scans // USUAL_SCANS), orientation)
        if marker in KEPT_SEGMENTS:
            kept.append(view[position:end])
        if marker == 0xE1 and orientation == UPRIGHT and body[position + 4 : position + 10] == b"Exif\0\0":
            orientation = _orientation(body[position + 10 : end])
        position = end
    raise ServingError(413, f"{name} has more than {SEGMENTS:,} segments before its first scan")


def _scans(body: bytes, position: int, name: str) -> int:
    """Return the number of scans, of which the first has begun before a position."""
    # Each needs a marker. It can also occur by chance behind the picture, where phones put a video.
    if body.count(b"\xff\xda", position) < USUAL_SCANS:
        return 1
    scans = 1
    for _ in range(10 * SCANS):
        found = MARKER.search(body, position)
        if not found or found[1] == b"\xd9":
            return scans
        scans += found[1] == b"\xda"
        if scans > SCANS:
            break
        position = found.end() + struct.unpack_from(">H", body, found.end())[0]
    raise ServingError(413, f"{name} has more than {SCANS} scans, or segments without end between them")
