"""What the first directory of a TIFF says of it; photographs of many cameras are TIFFs too."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from PIL import TiffImagePlugin

_REDUCED, _BITS, _PHOTOMETRIC, _MAKE, _SAMPLES, _SUB_FILES = 254, 258, 262, 271, 277, 330
_SAMPLE_FORMAT, _DNG_VERSION = 339, 50706
_SENSOR = (32803, 34892)  # photometric interpretations of what a sensor saw
_NUMBERS = {1: "unsigned integers", 2: "signed integers", 3: "floats", 6: "complex floats"}


def first_directory(content: bytes) -> Mapping[int, Any]:
    """The tags of a TIFF's first image; none where they cannot be read."""
    try:
        big = content[2:4] in (b"+\0", b"\0+")
        directory = TiffImagePlugin.ImageFileDirectory_v2(content[: 16 if big else 8])
        file = io.BytesIO(content)
        file.seek(directory.next)
        directory.load(file)
        return dict(directory)
    except Exception:  # on damaged data it raises nearly anything
        return {}


def is_raw(tags: Mapping[int, Any]) -> bool:
    """Whether the photograph itself is what the sensor saw: DNG, NEF, ARW and their like."""
    if _DNG_VERSION in tags or tags.get(_PHOTOMETRIC) in _SENSOR:
        return True
    return tags.get(_REDUCED) == 1 and _SUB_FILES in tags and _MAKE in tags


def white_is_zero(tags: Mapping[int, Any]) -> bool:
    """Whether grey is stored as its negative."""
    return tags.get(_PHOTOMETRIC) == 0


def unsupported(tags: Mapping[int, Any]) -> str | None:
    """Why Pillow does not read a TIFF that may be sound; None where its numbers are no reason."""
    bits, formats = tags.get(_BITS, (1,)), tags.get(_SAMPLE_FORMAT, (1,))
    if not isinstance(bits, tuple) or not isinstance(formats, tuple) or not bits or not formats:
        return None
    channels = tags.get(_SAMPLES, 1)
    number, width = formats[0], max(bits)
    is_read = {  # by Pillow, with 1 channel and with several
        16: (number in (1, 2), number == 1 and channels > 2),
        32: (number in (1, 2, 3), False),
        64: (False, False),
    }
    if width not in is_read or number not in _NUMBERS or is_read[width][channels > 1]:
        return None
    where = f" in {channels} channels" if channels > 1 else ""
    return f"not supported: TIFF of {width}-bit {_NUMBERS[number]}{where}"
