"""Pictures: bombs of every kind are refused by their headers, and others are read as a viewer shows them."""

import io
import random
import resource
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from impl.serving import VARIANTS, ServingConfig
from impl.serving.http import headers, inputs
from impl.serving.http.errors import ServingError
from impl.serving.http.headers import lean
from impl.serving.http.inputs import Decoder
from impl.variant import best_of
from tests.serving.conftest import TINY, pictures

SIDE = 64
DECODER = Decoder(SIDE, 64, 10**6)
RANDOM = np.random.default_rng(4)
NOISE = RANDOM.integers(0, 256, (48, 40, 3), np.uint8)
SIGNATURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def client(small_cache):
    app = VARIANTS[best_of(VARIANTS)](ServingConfig(model=TINY, precision="float32", max_pixels=10**6))
    app.extensions["serving"].loaded(60)
    yield app.test_client()
    app.extensions["serving"].close()


@pytest.fixture
def decoding(monkeypatch):
    """Collect the pictures that are decoded."""
    decoded, load = [], Image.Image.load
    monkeypatch.setattr(Image.Image, "load", lambda picture: decoded.append(picture.size) or load(picture))
    loading = inputs.as_shown
    monkeypatch.setattr(inputs, "as_shown", lambda picture, way: decoded.append(picture.size) or loading(picture, way))
    return decoded


def encoded(picture, form="PNG", **options):
    file = io.BytesIO()
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(file, form, **options)
    return file.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks, size=(8, 8), depth=8, colour=0, pixels=None):
    """A PNG with chunks of one's own before the pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0))
    rows = zlib.compress(bytes(size[1] * (size[0] + 1)) if pixels is None else pixels)
    return SIGNATURE + head + b"".join(chunks) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def segment(marker, data=b""):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


def with_segments(*segments, picture=NOISE):
    body = encoded(picture, "JPEG")
    return body[:2] + b"".join(segments) + body[2:]


def progressive(scans, size=64):
    """A progressive JPEG with many scans: the last one of a real file again and again, behind it."""
    body = encoded(Image.new("L", (size, size), 90), "JPEG", progressive=True)
    last = body.rindex(b"\xff\xda")
    return body[:-2] + body[last:-2] * (scans - body.count(b"\xff\xda")) + b"\xff\xd9"


TEXT = zlib.compress(bytes(900_000), 9)
BOMBS = {
    "dimensions of a PNG": (png(size=(50_000, 50_000), pixels=b"\0"), 413, "50000 x 50000 pixels"),
    "dimensions that only just exceed": (png(size=(1000, 1001), pixels=b"\0"), 413, "limit of 1,000,000"),
    "dimensions of 2**31": (png(size=(2**31 - 1, 2**31 - 1), pixels=b"\0"), 413, "more pixels"),
    "no dimensions": (png(size=(0, 0), pixels=b"\0"), 400, "damaged"),
    "dimensions of a JPEG": (encoded(Image.new("L", (16, 16)), "JPEG").replace(
        struct.pack(">HH", 16, 16), struct.pack(">HH", 65_000, 65_000), 1), 413, "65000 x 65000 pixels"),
    "a JPEG without height": (encoded(Image.new("L", (16, 16)), "JPEG").replace(
        struct.pack(">HH", 16, 16), struct.pack(">HH", 0, 16), 1), 400, "damaged"),
    "many chunks": (png(*[chunk(b"teXt", b"")] * 30_000), 413, "more than 20,000 chunks"),
    "many segments": (with_segments(*[segment(0xFE)] * 2_000), 413, "more than 1,000 segments"),
    "many fill bytes": (with_segments(b"\xff" * 500_000), 400, "damaged"),
    "junk between segments": (with_segments(b"\0" * 500_000), 400, "damaged"),
    "many scans": (progressive(300), 413, "more than 100 scans"),
    "many scans of few pixels": (progressive(99, 450), 413, "more pixels to decode"),
    "an animated PNG": (encoded(NOISE, save_all=True, append_images=[Image.new("RGB", (40, 48))]), 422, "2 frames"),
    "an animation of millions": (png(chunk(b"acTL", struct.pack(">II", 2**31, 0))), 422, "2147483648 frames"),
    **{
        form: (encoded(Image.new("L", (9, 9)), form, **more), 400, "cannot be read as a JPEG or a PNG")
        for form, more in (
            ("GIF", {"save_all": True, "append_images": [Image.new("L", (9, 9), 9)] * 50}), ("BMP", {}),
            ("TIFF", {"save_all": True, "append_images": [Image.new("L", (9, 9))] * 50}), ("ICO", {}), ("PPM", {}),
            ("WEBP", {"save_all": True, "append_images": [Image.new("L", (9, 9), 9)] * 50}), ("TGA", {}), ("PDF", {}),
            ("JPEG2000", {}), ("EPS", {}),
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_by_its_header(bomb, client, decoding):
    body, status, message = BOMBS[bomb]
    memory, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    for kind in ("image/png", "image/jpeg"):
        answer = client.post("/predict", data=body, content_type=kind)
        assert (answer.status_code, answer.json["success"]) == (status, False), answer.text
        assert message in answer.json["error"]
    assert time.monotonic() - start < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 100_000, "more than 100 MB"
    assert not decoding


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP", b"zzZz"])
def test_compressed_text_is_not_decompressed(kind, client, monkeypatch):
    """60 chunks of 900 kB each, of which Pillow would decompress every one, up to 64 MB."""
    monkeypatch.setattr(PngImagePlugin, "_safe_zlib_decompress", lambda _: pytest.fail("it was decompressed"))
    head = {b"iTXt": b"a\0\1\0\0\0"}.get(kind, b"a\0\0")
    body = png(*[chunk(kind, head + TEXT)] * 60)
    behind = body[:-12] + chunk(kind, head + TEXT) * 60 + body[-12:]
    for each in (body, behind):
        assert client.post("/predict", data=each, content_type="image/png").status_code == 200
        assert len(lean(each, "it").body) < 200


def test_pixels_are_counted_over_the_whole_form(client, decoding):
    """Each part is within the limit, and all together are not: nothing is decoded."""
    large = encoded(Image.new("L", (500, 500)))

    def send(count):
        return client.post("/predict", data={"a": [(io.BytesIO(large), "a.png", "image/png") for _ in range(count)]})

    assert send(4).status_code == 200
    decoding.clear()
    answer = send(5)
    assert answer.status_code == 413
    assert "has more pixels to decode than its limit of 1,000,000" in answer.json["error"]
    assert not decoding


def test_a_damaged_last_part_is_refused_before_the_first_is_decoded(client, decoding):
    good, damaged = encoded(NOISE), encoded(Image.new("L", (9, 9)), "GIF")
    files = [(io.BytesIO(body), "a.png", "image/png") for body in (good, good, damaged)]
    decoding.clear()
    assert client.post("/predict", data={"a": files}).status_code == 400
    assert not decoding


def test_what_is_left_out_does_not_change_a_picture():
    """Profiles, text, previews, comments, and what follows the picture."""
    profile, video = (
        bytes(RANDOM.integers(0, 256, 200_000, np.uint8)),
        bytes(RANDOM.integers(0, 256, 4_000_000, np.uint8)),
    )
    for progress in (False, True):
        plain = encoded(NOISE, "JPEG", progressive=progress)
        full = encoded(NOISE, "JPEG", progressive=progress, icc_profile=profile, comment=b"text", exif=Image.Exif())
        for body in (full, full + video, full + full, plain[:2] + b"\xff\xff" + plain[2:]):
            reduced = lean(body, "it")
            assert (reduced.width, reduced.height, reduced.cost // (48 * 40)) == (
                40,
                48,
                1 + progress * (reduced.cost > 48 * 40),
            )
            with Image.open(io.BytesIO(reduced.body)) as picture, Image.open(io.BytesIO(plain)) as expected:
                assert (np.asarray(picture) == np.asarray(expected)).all()
    text = PngImagePlugin.PngInfo()
    text.add_text("a", "b" * 1000, zip=True)
    with Image.open(io.BytesIO(lean(encoded(NOISE, pnginfo=text, icc_profile=profile), "it").body)) as picture:
        assert (np.asarray(picture) == NOISE).all()
        assert "icc_profile" not in picture.info


def test_scans_are_counted():
    assert lean(encoded(NOISE, "JPEG", progressive=True), "it").cost == 48 * 40
    assert lean(progressive(30), "it").cost == 3 * 64 * 64
    assert lean(progressive(100), "it").cost == 10 * 64 * 64
    # The marker of a scan in what follows the picture, where phones put a video, is none.
    assert lean(encoded(NOISE, "JPEG") + b"\xff\xda\0\2" * 500, "it").cost == 48 * 40
    endless = encoded(NOISE, "JPEG")[:-2] + b"\xff\xfe\0\2" * 5_000 + b"\xff\xda\0\2" * 20
    with pytest.raises(ServingError, match="segments without end"):
        lean(endless, "it")


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(
    st.binary(max_size=80),
    st.sampled_from([SIGNATURE, b"\xff\xd8\xff", SIGNATURE + b"\0\0\0\rIHDR", b"\xff\xd8\xff\xda"]),
)
def test_generated_headers(body, start):
    try:
        lean(start + body, "it")
    except ServingError as error:
        assert error.status in {400, 413, 422}  # noqa: PT017 - some are right


def test_damaged_pictures():
    """Bytes changed anywhere: a picture, or 400, 413 or 422."""
    rng, statuses = random.Random(5), []
    seeds = [encoded(NOISE), encoded(NOISE, "JPEG"), encoded(NOISE, "JPEG", progressive=True), rotated(6)]
    seeds += [encoded(Image.fromarray(NOISE).convert(mode)) for mode in ("P", "RGBA", "LA", "I;16", "1")]
    seeds += [encoded(Image.fromarray(NOISE).convert("CMYK"), "JPEG")]
    for _ in range(1_500):
        body = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 3)):
            body[rng.randrange(min(len(body), rng.choice([40, 300, 10**6])))] = rng.randrange(256)
        try:
            assert DECODER.picture(bytes(body), "it").shape == (1, 3, SIDE, SIDE)
        except ServingError as error:
            statuses.append(error.status)
    assert set(statuses) <= {400, 413, 422}
    assert len(statuses) > 300


def shown(body):
    """The colours that the model gets, uint8 [side, side, 3]."""
    return DECODER.picture(body, "it")[0].permute(1, 2, 0).numpy()


def flat(mode, colour, **info):
    picture = Image.new(mode, (SIDE, SIDE), colour)
    picture.info.update(info)
    return picture


def png16(values, colour=0, *chunks):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(*chunks, size=(values.shape[1], values.shape[0]), depth=16, colour=colour, pixels=rows)


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0), (65_535, 255), (32_768, 128), (257, 1), (40_000, 156), (300, 1)]
)
def test_16_bit_grey(value, expected):
    """Pillow's own conversion cuts off at 255: almost every such picture is white."""
    values = np.full((SIDE, SIDE), value)
    assert (shown(png16(values)) == expected).all()
    assert (shown(encoded(Image.fromarray(values.astype(np.uint16)))) == expected).all()


def test_other_16_bit_pictures():
    values = np.full((SIDE, SIDE, 3), [65_535, 32_768, 0]).reshape(SIDE, -1)
    body = png(
        size=(SIDE, SIDE), depth=16, colour=2, pixels=b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    )
    assert (shown(body) == [255, 128, 0]).all()
    half = np.full((SIDE, SIDE, 2), [0, 32_768]).reshape(SIDE, -1)  # black, half transparent
    body = png(
        size=(SIDE, SIDE), depth=16, colour=4, pixels=b"".join(b"\0" + row.astype(">u2").tobytes() for row in half)
    )
    assert (abs(shown(body).astype(int) - 127) <= 1).all()
    clear = png16(np.full((SIDE, SIDE), 500), 0, chunk(b"tRNS", struct.pack(">H", 500)))
    assert (shown(clear) == 255).all()


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (flat("RGBA", (255, 0, 0, 255)), (255, 0, 0)),
        (flat("RGBA", (255, 0, 0, 0)), (255, 255, 255)),
        (flat("RGBA", (0, 0, 200, 51)), (204, 204, 244)),
        (flat("LA", (0, 0)), (255, 255, 255)),
        (flat("LA", (0, 255)), (0, 0, 0)),
        (flat("L", 7, transparency=7), (255, 255, 255)),
        (flat("L", 7, transparency=8), (7, 7, 7)),
        (flat("RGB", (1, 2, 3), transparency=(1, 2, 3)), (255, 255, 255)),
        (flat("RGB", (1, 2, 3), transparency=(1, 2, 4)), (1, 2, 3)),
        (flat("1", 1), (255, 255, 255)),
        (flat("1", 0), (0, 0, 0)),
        (flat("1", 0, transparency=0), (255, 255, 255)),
    ],
)
def test_transparency_and_grey(picture, expected):
    assert (abs(shown(encoded(picture)).astype(int) - expected) <= 1).all()


def test_palettes():
    colours = Image.fromarray(NOISE).quantize(16)
    expected = shown(encoded(colours.convert("RGB")))
    assert (shown(encoded(colours)) == expected).all()
    half = flat("P", 3)
    half.putpalette([0, 0, 0] * 3 + [200, 0, 0])
    assert (shown(encoded(half)) == (200, 0, 0)).all()
    assert (shown(encoded(half, transparency=3)) == 255).all()
    assert (abs(shown(encoded(half, transparency=bytes([255, 255, 255, 51]))).astype(int) - (244, 204, 204)) <= 1).all()


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 160, 0), (20, 30, 200), (255, 255, 255), (0, 0, 0)])
def test_cmyk(colour):
    body = encoded(Image.new("RGB", (SIDE, SIDE), colour).convert("CMYK"), "JPEG", quality=95)
    assert (abs(shown(body).astype(int) - colour) <= 4).all()
    assert (abs(shown(encoded(flat("L", 77), "JPEG")).astype(int) - 77) <= 2).all()


def rotated(orientation, form="JPEG"):
    """Noise as a camera stores it that was held otherwise: the viewer turns it around."""
    turn = [None, None, 0, 3, 1, 5, 2, 6, 4]  # Pillow's transpositions; the inverse of what the viewer does
    inverse = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    method = inverse.get(orientation, turn[orientation])
    picture = Image.fromarray(NOISE)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = picture if method is None else picture.transpose(Image.Transpose(method))
    return encoded(stored, form, exif=exif, **({"quality": 100, "subsampling": 0} if form == "JPEG" else {}))


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_exif(orientation, form):
    upright = shown(encoded(NOISE))
    difference = abs(shown(rotated(orientation, form)).astype(int) - upright).max()
    assert difference <= (0 if form == "PNG" else 24)


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0MM\0*\0\0\0\xff",
        b"Exif\0\0" + bytes(50),
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\1\3\0\1\0\0\0\x63\0\0\0" * 9,
    ],
)
def test_damaged_exif_is_ignored(exif):
    assert (shown(with_segments(segment(0xE1, exif))) == shown(encoded(NOISE, "JPEG"))).all()


def test_the_size_counts_as_stored(client):
    """A picture that is turned has the same pixels."""
    assert client.post("/predict", data=rotated(6), content_type="image/jpeg").status_code == 200
    assert lean(rotated(6), "it")[2:4] == (48, 40)


def test_pictures_of_the_models_size_are_used_unchanged():
    body = encoded(RANDOM.integers(0, 256, (SIDE, SIDE, 3), np.uint8))
    with Image.open(io.BytesIO(body)) as picture:
        assert (shown(body) == np.asarray(picture)).all()
    assert headers.CHUNKS > 64 * 2**20 / 8192, "libpng writes chunks of 8 kB"
    assert len(pictures(1)) == 1
