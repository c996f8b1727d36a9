"""The size of a JPEG XL image, which its decoder says only when it has decoded it."""

from __future__ import annotations

import struct

_CODESTREAM = b"\xff\x0a"
_RATIOS = ((1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_WIDTHS_OF_NUMBERS = (9, 13, 18, 30)  # bits


def size_of(content: bytes) -> tuple[int, int] | None:
    """Width and height, as the header of the image says; None where there is none.

    Format: ISO/IEC 18181-1, SizeHeader; in a file of boxes (18181-2) it stands in the first `jxlc`
    or `jxlp`.
    """
    start = _start_of_image(content)
    if content[start : start + 2] != _CODESTREAM:
        return None
    bits = _Bits(content[start + 2 : start + 18])
    is_small = bits.take(1) == 1
    height = bits.side(is_small)
    ratio = bits.take(3)
    if ratio == 0:
        return bits.side(is_small), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height


class _Bits:
    """Numbers that are packed from the lowest bit on."""

    def __init__(self, content: bytes) -> None:
        self._left = int.from_bytes(content, "little")

    def take(self, count: int) -> int:
        number = self._left & ((1 << count) - 1)
        self._left >>= count
        return number

    def side(self, is_small: bool) -> int:
        if is_small:
            return 8 * (self.take(5) + 1)
        return self.take(_WIDTHS_OF_NUMBERS[self.take(2)]) + 1


def _start_of_image(content: bytes) -> int:
    """Where the first two bytes of the image would stand."""
    place = 0
    if content.startswith(_CODESTREAM):
        return place
    while place + 16 <= len(content):
        size, name = struct.unpack_from(">I4s", content, place)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", content, place + 8)
            head = 16
        if name == b"jxlc":
            return place + head
        if name == b"jxlp":  # a part, after its number
            return place + head + 4
        if size < head:
            break
        place += size
    return len(content)
