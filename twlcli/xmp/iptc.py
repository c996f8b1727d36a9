r"""Keywords of IPTC-IIM, the older of the two standards, as they stand in JPEG and TIFF.

A data set is `\x1c`, the numbers of its record and of itself, a size of two bytes, and its value.
IPTC-NAA Information Interchange Model, version 4.2, sections 1.5 and 6.
"""

from __future__ import annotations

from collections.abc import Iterator

from twlcli.errors import ImageError
from twlcli.xmp.reader import MAXIMUM_ITEMS

_KEYWORDS = (2, 25)
_CHARACTER_SET = (1, 90)
_UTF8 = (b"\x1b%G", b"\x1b%/G", b"\x1b%/H", b"\x1b%/I")  # ISO 2022, as 1:90 holds it
_LATIN_1 = (b"\x1b.A", b"\x1b-A", b"\x1b/A")
_RESOURCE = 0x0404  # of Photoshop, that holds IPTC


def iptc_keywords(content: bytes) -> list[str]:
    r"""The keywords among data sets, decoded as 1:90 says; without it as UTF-8 if they can be.

    Example:
        >>> iptc_keywords(b"\x1c\x02\x19\0\x03dog\x1c\x02\x19\0\x04caf\xe9")
        ['dog', 'café']

    Raises:
        ImageError: it is not made of data sets, or holds keywords without end.
    """
    values, codec = list[bytes](), ""
    for number, value in _data_sets(content):
        if number == _KEYWORDS:
            if len(values) == MAXIMUM_ITEMS:
                raise ImageError(f"its IPTC has more than {MAXIMUM_ITEMS:,} keywords")
            values.append(value)
        elif number == _CHARACTER_SET:
            codec = "utf-8" if value in _UTF8 else "latin-1" if value in _LATIN_1 else ""
    return [_text(value, codec) for value in values]


def _text(value: bytes, codec: str) -> str:
    if codec:
        return value.decode(codec, "replace")
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _data_sets(content: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    if content[:1] != b"\x1c" and content[3:4] == b"\x1c":
        # In a TIFF as numbers of four bytes in the other byte order.
        whole = content[: len(content) // 4 * 4]
        content = b"".join(whole[at : at + 4][::-1] for at in range(0, len(whole), 4))
    at = 0
    while content[at : at + 1] == b"\x1c":
        number, size = (content[at + 1 : at + 3]), int.from_bytes(content[at + 3 : at + 5])
        at += 5
        if size & 0x8000:  # of that many bytes is the size itself
            long = size & 0x7FFF
            size = int.from_bytes(content[at : at + min(long, 8)])
            at += long
        if at + size > len(content):
            raise ImageError("its IPTC is cut off")
        yield (number[0], number[1]), content[at : at + size]
        at += size
    if content[at:].strip(b"\0"):
        raise ImageError("its IPTC is damaged")


def iptc_of_photoshop(content: bytes) -> bytes:
    """The IPTC among Photoshop's resources; empty where there is none."""
    at = 0
    while len(header := content[at : at + 7]) == 7:
        number, name = int.from_bytes(header[4:6]), header[6]
        at += 6 + (name + 2) // 2 * 2
        size = int.from_bytes(content[at : at + 4])
        at += 4
        if number == _RESOURCE and header.startswith(b"8BIM"):
            return content[at : at + size]
        at += size + size % 2
    return b""
