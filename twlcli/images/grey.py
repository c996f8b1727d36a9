"""Grey of more than 8 bits, which cameras for science and scanners write, as RGB of 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

_LEVEL_OF_SIXTEEN_BITS = ((np.arange(65536) + 128) // 257).astype(np.uint8)


def deep_grey_to_rgb(image: Image.Image) -> Image.Image:
    """Convert a decoded image of a mode that starts with `I` or `F`; transparency lies on white."""
    raw = np.asarray(image)
    levels = grey_levels(raw, sixteen_bits=image.mode.startswith("I;16"))
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        from twlcli.images.tiff import white_is_zero

        if white_is_zero(image.tag_v2):  # Pillow turns those of 8 bits round, not these
            levels = 255 - levels
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):  # PNG names one grey value as fully transparent
        levels[raw == transparent] = 255
    return Image.fromarray(levels).convert("RGB")


def grey_levels(raw: NDArray[Any], *, sixteen_bits: bool) -> NDArray[np.uint8]:
    """Scale grey values (H, W) of any number type to 0..255 uint8.

    Values of 16 bits fill 0..65535. Wider types do not say their range, so the first of 0..1
    (floats only), 0..255 and 0..65535 that holds every value is taken, else the values' own range.
    Values that are not finite are black.
    """
    if sixteen_bits:
        return np.take(_LEVEL_OF_SIXTEEN_BITS, raw)
    values = np.nan_to_num(raw.astype(np.float32), copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    tops = (1.0, 255.0, 65535.0) if np.issubdtype(raw.dtype, np.floating) else (255.0, 65535.0)
    top = next((top for top in tops if low >= 0 and high <= top), None)
    if top is None:
        values -= low
        top = (high - low) or 1.0
    values *= 255.0 / top
    return np.round(values).astype(np.uint8)
