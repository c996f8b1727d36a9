"""How image files are decoded, apart from what a model asks for, and what may be odd about one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag
from functools import reduce
from operator import or_

MAX_PIXELS = 178_956_970  # where Pillow itself refuses: 0.7 GB as it keeps RGB


class Caveat(IntFlag):
    """What has to be said of an image that was read all the same."""

    NOTHING = 0
    PROFILE_IGNORED = 1
    DAMAGED = 2


@dataclass(frozen=True)
class Decoding:
    """Settings that change pixels.

    Attributes:
        exact: decode JPEG at full size. Otherwise it is decoded at a reduced size, at least twice
            the one wanted, which is several times faster and changes few pixels by more than 1.
        max_pixels: an image of more pixels is refused; of JPEG those count that are decoded.
        accept_damaged: read what is there of a damaged file; what is not there is black or grey.
    """

    exact: bool = False
    max_pixels: int = MAX_PIXELS
    accept_damaged: bool = False


USUAL = Decoding()


def joined(caveats: Iterable[Caveat]) -> Caveat:
    """Several as one."""
    return reduce(or_, caveats, Caveat.NOTHING)
