"""The keywords inside a photograph, in XMP, IPTC and EXIF, without decoding it."""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from PIL import Image, IptcImagePlugin

from twlcli.errors import ImageError
from twlcli.images.quiet import pillow_silenced
from twlcli.xmp.keywords import LISTS, SUBJECT, unique
from twlcli.xmp.packet import MAXIMUM_BYTES, NewProperty, Packet

# Formats whose headers Pillow reads without a decoder outside of Python.
_PILLOWS = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n\x1a\n"}
_TIFF = (b"II*\0", b"MM\0*")

_IPTC_KEYWORDS = (2, 25)
_XP_KEYWORDS = 0x9C9E  # of Windows: UTF-16, separated by semicolons
_XMP_CHUNK = b"XML:com.adobe.xmp\0"
_MOST_CHUNKS = 100_000


def embedded_keywords(path: Path) -> dict[NewProperty, list[str]]:
    """The keywords of the three lists, with those of IPTC and EXIF among the words of dc:subject.

    JPEG, PNG and TIFF, and camera raw files built like TIFF, are read by their structure; in
    others, such as HEIC and WebP, an XMP packet is searched for. What cannot be read has none.
    """
    found: dict[NewProperty, list[str]] = {each: [] for each in LISTS}
    words: list[str] = []
    try:
        with path.open("rb") as file:
            packet = _packet(file, words)
    except (OSError, ValueError):
        return found
    if packet is not None and len(packet) <= MAXIMUM_BYTES:
        with suppress(ImageError):  # others cannot read it either
            lists = Packet(packet.strip(b"\0"), [each.name for each in LISTS])
            found = {each: lists.values(each.name) for each in LISTS}
    found[SUBJECT] = unique([*found[SUBJECT], *words])
    return found


def _packet(file: BinaryIO, words: list[str]) -> bytes | None:
    """The XMP of a photograph; keywords that stand elsewhere are added to `words`."""
    head = file.read(8)
    file.seek(0)
    kind = next((name for name, start in _PILLOWS.items() if head.startswith(start)), None)
    if head.startswith(_TIFF):
        kind = "TIFF"
    if kind is None:
        return _searched(file)
    packet = None
    try:
        with pillow_silenced(), Image.open(file, formats=[kind]) as image:
            packet = image.info.get("xmp")
            words += _iptc(IptcImagePlugin.getiptcinfo(image) or {})
            words += _xp(image.getexif().get(_XP_KEYWORDS))
    except Exception:  # on damaged data Pillow raises nearly anything
        return _searched(file)
    if kind == "PNG" and packet is None:
        packet = next(_png_packets(file), None)
    return packet if isinstance(packet, bytes) else None


def _iptc(info: dict[tuple[int, int], bytes | list[bytes]]) -> list[str]:
    """The keywords of an IPTC block, in its own coding: UTF-8 where it says so or can be."""
    values = info.get(_IPTC_KEYWORDS, [])
    found = []
    for value in values if isinstance(values, list) else [values]:
        try:
            found.append(value.decode())
        except UnicodeDecodeError:
            found.append(value.decode("latin-1"))
    return found


def _xp(value: object) -> list[str]:
    if isinstance(value, tuple):  # of numbers
        value = bytes(each & 0xFF for each in value if isinstance(each, int))
    if not isinstance(value, bytes):
        return []
    return value.decode("utf-16-le", "replace").strip("\0").split(";")


def _png_packets(file: BinaryIO) -> Iterator[bytes]:
    """The XMP of a PNG, also behind its pixels, where exiftool puts it."""
    file.seek(8)
    for _ in range(_MOST_CHUNKS):
        header = file.read(8)
        if len(header) < 8:
            return
        size, name = struct.unpack(">I4s", header)
        if name == b"iTXt" and size <= MAXIMUM_BYTES:
            body = file.read(size)
            if body.startswith(_XMP_CHUNK):
                is_packed = body[len(_XMP_CHUNK) : len(_XMP_CHUNK) + 1] == b"\1"
                # Method, language and translated keyword stand before the text.
                text = body[len(_XMP_CHUNK) + 2 :].split(b"\0", 2)[-1]
                yield _unpacked(text) if is_packed else text
            file.seek(4, 1)
        else:
            file.seek(size + 4, 1)


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        return unpacker.decompress(data, MAXIMUM_BYTES + 1)
    except zlib.error:
        return b""


def _searched(file: BinaryIO) -> bytes | None:
    """The first XMP packet in a file of any kind: XMP is made to be found so."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(b"<x:xmpmeta")
        end = content.find(b"</x:xmpmeta>", start, start + MAXIMUM_BYTES) if start >= 0 else -1
        return None if end < 0 else content[start : end + len(b"</x:xmpmeta>")]
