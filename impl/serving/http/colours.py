"""What a viewer shows of a picture: its colours in 8 bits, on white where it is transparent, and the right way up."""

import numpy as np
from PIL import Image

__all__ = ["as_shown"]

SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N", "I")
ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def as_shown(picture: Image.Image, orientation: int) -> Image.Image:
    """Return a picture in RGB as a viewer shows it; the orientation is EXIF's number.

    - 16 bits per channel become 8, by scaling. (Pillow's own conversion of grey would cut them off: white.)
    - What is transparent, by an alpha channel or by a colour of the palette, is laid on white.
    - CMYK and YCCK become RGB; Adobe's inverted numbers are turned around by Pillow.
    - The orientation of EXIF is applied.
    - Colour profiles and gamma are not.
    """
    if picture.mode in SIXTEEN_BITS:
        shown = _scaled(picture)
    elif picture.has_transparency_data:
        alpha = picture.convert("RGBA")
        shown = Image.new("RGB", picture.size, "white")
        shown.paste(alpha, mask=alpha.getchannel("A"))
    else:
        shown = picture.convert("RGB")
    return shown.transpose(ORIENTATIONS[orientation]) if orientation in ORIENTATIONS else shown


def _scaled(picture: Image.Image) -> Image.Image:
    """Return grey of 16 bits in RGB; one value may be transparent."""
    values = np.asarray(picture).astype(np.uint32)
    grey = ((values * 255 + 32_767) // 65_535).astype(np.uint8)
    if isinstance(clear := picture.info.get("transparency"), int):
        grey[values == clear] = 255
    return Image.fromarray(grey).convert("RGB")
