"""Camera raw files: the preview that the camera made, or else a quick development."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from twlcli.errors import ImageError
from twlcli.images.kinds import RAW

_UPRIGHT = {  # LibRaw's flip to the transposition that undoes it
    3: Image.Transpose.ROTATE_180,
    5: Image.Transpose.ROTATE_90,
    6: Image.Transpose.ROTATE_270,
}


def open_raw(content: bytes, *, shorter_side: int | None, max_pixels: int) -> Image.Image:
    """The photograph in a raw file, not loaded yet where it is a JPEG.

    That is the largest preview in the file, as the camera shows it. Where its shorter side is less
    than `shorter_side`, or half of what the sensor has, the raw data are developed at half size.

    Raises:
        ImageError: the `raw` extra is not installed, the file is damaged or of an unknown camera,
            or it has more than four times `max_pixels`.
    """
    try:
        import rawpy
    except ImportError:
        raise RAW.refusal from None
    try:
        with rawpy.imread(io.BytesIO(content)) as raw:
            sides = raw.sizes.width, raw.sizes.height
            enough = min(sides) // 2 if shorter_side is None else min(shorter_side, min(sides) // 2)
            preview = _preview(raw)
            if preview is not None and min(preview.size) >= enough:
                return preview
            if raw.sizes.raw_width * raw.sizes.raw_height > 4 * max_pixels:
                megapixels = raw.sizes.raw_width * raw.sizes.raw_height / 1e6
                raise ImageError(f"too large: {megapixels:,.1f} megapixels without a preview")
            return Image.fromarray(raw.postprocess(half_size=True, use_camera_wb=True))
    except rawpy.LibRawError as error:
        raise ImageError(f"damaged or unknown {RAW.name} ({_text(error)})") from error


def _preview(raw: Any) -> Image.Image | None:
    """The largest preview, with the EXIF orientation that LibRaw gives to a JPEG."""
    import rawpy

    try:
        thumb = raw.extract_thumb()
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
        return None
    if thumb.format == rawpy.ThumbFormat.JPEG:
        return Image.open(io.BytesIO(thumb.data), formats=("JPEG",))
    if thumb.format != rawpy.ThumbFormat.BITMAP:
        return None
    image = Image.fromarray(thumb.data)
    transposition = _UPRIGHT.get(raw.sizes.flip)
    return image if transposition is None else image.transpose(transposition)


def _text(error: Exception) -> str:
    text = error.args[0] if error.args else type(error).__name__
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
