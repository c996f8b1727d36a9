"""Small pictures of images, as a page carries them inside itself."""

from __future__ import annotations

import io
import math
import time
from base64 import b64encode
from collections.abc import Sequence
from contextlib import closing

import numpy as np

from twlcli.annotations.annotations import Annotations
from twlcli.errors import ImageError
from twlcli.images.decoding import USUAL, Decoding
from twlcli.images.each_decoded import each_decoded
from twlcli.images.image_file import ImageFile
from twlcli.images.sandbox import Decoder
from twlcli.model.preprocessing import Preprocessing
from twlcli.parallel import usable_cores

SIDE = 144  # pixels
_QUALITY = 72  # of JPEG: about 5 kB for a photograph


def thumbnails(
    annotations: Annotations,
    rows: Sequence[int],
    preprocessing: Preprocessing,
    *,
    most_bytes: int,
    most_seconds: float = math.inf,
    decoding: Decoding = USUAL,
    workers: int | None = None,
) -> dict[int, str]:
    """What the model sees of some images, as addresses that hold the pictures themselves.

    They are decoded in processes that may crash, as all images are.

    Args:
        annotations: where the images lie.
        rows: the images that are wanted, the most important first.
        preprocessing: the model's, whose crop is shown.
        most_bytes: of all addresses together; what comes after them is left out.
        most_seconds: that it takes, about; what is not done by then is left out.
        decoding: the settings that change pixels.
        workers: processes that decode; None is one for each core.

    Returns:
        `data:` addresses by row; none of an image that cannot be read any more.

    Raises:
        DeviceError: the processes that decode do not start.
    """
    if not rows:
        return {}
    resize = max(SIDE, round(SIDE * preprocessing.resize / preprocessing.crop))
    shown = Preprocessing(resize=resize, crop=SIDE, fit=preprocessing.fit)

    def made(decoder: Decoder, row: int) -> str:
        return _address(annotations, row, shown, decoder, decoding)

    end = time.monotonic() + most_seconds
    found: dict[int, str] = {}
    count = workers or usable_cores()
    with closing(each_decoded(made, rows, workers=count, name="twl-pictures")) as addresses:
        for row, address in zip(rows, addresses, strict=True):
            most_bytes -= len(address)
            if most_bytes < 0:
                break
            if address:
                found[row] = address
            if time.monotonic() > end:
                break
    return found


def _address(
    annotations: Annotations, row: int, shown: Preprocessing, decoder: Decoder, decoding: Decoding
) -> str:
    from PIL import Image

    pixels = np.empty((SIDE, SIDE, 3), dtype=np.uint8)
    try:
        file = ImageFile(annotations.path(row), annotations.images[row])
        decoder.decode(file, shown, pixels, decoding=decoding)
    except ImageError:
        return ""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{b64encode(content.getvalue()).decode()}"
