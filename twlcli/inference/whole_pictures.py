"""Small pictures of whole images, for people to look at."""

from __future__ import annotations

import io

import numpy as np

from twlcli.errors import ImageError
from twlcli.images.decoding import USUAL, Decoding
from twlcli.images.image_file import ImageFile
from twlcli.images.sandbox import Decoder
from twlcli.images.whole import Whole

_QUALITY = 78  # of JPEG


def whole_picture(
    decoder: Decoder, file: ImageFile, *, whole: Whole, decoding: Decoding = USUAL
) -> bytes | None:
    """A JPEG of all of an image; None of one that cannot be read."""
    from PIL import Image

    sheet = np.empty((whole.side + 1, whole.side, 3), dtype=np.uint8)
    try:
        decoder.decode(file, whole, sheet, decoding=decoding)
    except ImageError:
        return None
    content = io.BytesIO()
    picture = whole.taken_from(Image.fromarray(sheet))
    picture.save(content, "JPEG", quality=_QUALITY, optimize=True)
    return content.getvalue()
