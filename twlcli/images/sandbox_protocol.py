"""What is asked of a process that decodes, and how it answers.

It begins with the pickled numbers of its `Limits`, and READY is the answer. A request is a pickled
tuple: the path's bytes, the numbers of the `Part` or None, and those of the `Geometry`. An answer
begins with a LENGTH: PIXELS, and they follow, or that of the reason why there are none, in UTF-8.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it brings NumPy
    from twlcli.model.spec import Preprocessing

READY = b"!"
PIXELS = -1
LENGTH = struct.Struct("<i")


@dataclass(frozen=True, slots=True)
class Geometry:
    """What becomes of a picture's pixels.

    Attributes:
        resize: length of the shorter side after resizing, pixels.
        crop: side of the square cut from the centre, pixels; at most `resize`.
        interpolation: `bilinear` or `bicubic`, both with antialiasing (Pillow's).
        exact: decode JPEG at full size. Otherwise it is decoded at a reduced size, at least
            twice `resize`, which is several times faster and changes few pixels by more than 1.
    """

    resize: int
    crop: int
    interpolation: str
    exact: bool = False

    @classmethod
    def of(cls, preprocessing: Preprocessing, *, exact: bool = False) -> Geometry:
        """What a model's preprocessing does before its graph."""
        each = preprocessing
        return cls(each.resize, each.crop, each.interpolation, exact)
