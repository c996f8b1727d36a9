"""The blocks of metadata in a photograph's file, found by its structure; no pixel is decoded."""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from twlcli.xmp.packet import MAXIMUM_BYTES

_LARGEST = 1 << 30  # bytes of a photograph; the decoder reads no larger one
_MOST_BLOCKS = 100_000  # of one file; a file of nothing but empty ones is no photograph

_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_EXIF = b"Exif\0\0"
_PHOTOSHOP = b"Photoshop 3.0\0"
_PNG_XMP = b"XML:com.adobe.xmp\0"
_PNG = b"\x89PNG\r\n\x1a\n"

Kind = Literal["xmp", "iptc", "photoshop", "windows"]
_TIFF_TAGS: dict[int, Kind] = {
    700: "xmp",
    33723: "iptc",
    34377: "photoshop",
    0x9C9E: "windows",  # XPKeywords
}
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1}  # bytes of a value, by its type


@dataclass(frozen=True)
class Block:
    """A block of metadata.

    Attributes:
        kind: an XMP packet, IPTC-IIM data sets, resources of Photoshop, which may hold IPTC, or the
            keywords of Windows.
        content: its bytes, without what wraps them.
    """

    kind: Kind
    content: bytes


def blocks(file: BinaryIO) -> Iterator[Block]:
    """The blocks of a photograph that may hold keywords; those that are too large are left out.

    JPEG, PNG, WebP and TIFF, and camera raw files built like TIFF, are read by their structure, as
    far as it is sound. In others, such as HEIC, an XMP packet is searched for.

    Args:
        file: opened for reading bytes, and of the operating system's.

    Raises:
        OSError: it cannot be read.
    """
    if os.fstat(file.fileno()).st_size > _LARGEST:
        return
    head = file.read(12)
    if head.startswith(b"\xff\xd8\xff"):
        yield from _of_jpeg(file)
    elif head.startswith(_PNG):
        yield from _of_png(file)
    elif head.startswith(b"RIFF") and head.endswith(b"WEBP"):
        yield from _of_webp(file)
    elif head.startswith((b"II*\0", b"MM\0*")):
        yield from _of_tiff(file, 0)
    elif head:
        yield from _searched(file)


def _of_jpeg(file: BinaryIO) -> Iterator[Block]:
    """Segments up to the pixels; what Photoshop parted into several is joined."""
    resources = bytearray()
    file.seek(2)
    for _ in range(_MOST_BLOCKS):
        start = file.read(4)
        while start.startswith(b"\xff\xff"):  # filled up
            start = start[1:] + file.read(1)
        if len(start) < 4 or start[0] != 0xFF or start[1] in (0xD9, 0xDA):
            break
        size = int.from_bytes(start[2:]) - 2
        if start[1] not in (0xE1, 0xED) or size < 0:
            file.seek(max(size, 0), 1)
            continue
        body = file.read(size)
        if body.startswith(_JPEG_XMP):
            yield Block("xmp", body[len(_JPEG_XMP) :])
        elif body.startswith(_EXIF):
            end = file.tell()
            yield from _of_tiff(file, end - len(body) + len(_EXIF))
            file.seek(end)
        elif body.startswith(_PHOTOSHOP) and len(resources) + size <= MAXIMUM_BYTES:
            resources += body[len(_PHOTOSHOP) :]
    if resources:
        yield Block("photoshop", bytes(resources))


def _of_png(file: BinaryIO) -> Iterator[Block]:
    """Chunks in front of the pixels and, where exiftool puts them, behind."""
    file.seek(len(_PNG))
    for name, size in _chunks(file, ">I4s", beyond=4):
        if name == b"eXIf":
            yield from _of_tiff(file, file.tell())
        elif name == b"iTXt" and size <= MAXIMUM_BYTES:
            body = file.read(size)
            if body.startswith(_PNG_XMP):
                is_packed = body[len(_PNG_XMP) : len(_PNG_XMP) + 1] == b"\1"
                # Method, language and translated keyword stand before the text.
                text = body[len(_PNG_XMP) + 2 :].split(b"\0", 2)[-1]
                yield Block("xmp", _unpacked(text) if is_packed else text)


def _of_webp(file: BinaryIO) -> Iterator[Block]:
    for name, size in _chunks(file, "<4sI", beyond=0):
        if name == b"XMP " and size <= MAXIMUM_BYTES:
            yield Block("xmp", file.read(size))
        elif name == b"EXIF":
            start = file.tell()
            yield from _of_tiff(file, start + 6 if file.read(6) == _EXIF else start)


def _chunks(file: BinaryIO, form: str, *, beyond: int) -> Iterator[tuple[bytes, int]]:
    """Names and sizes of chunks, with the file at the body of each.

    Args:
        file: at the first chunk.
        form: of a header, which is a size and a name in either order.
        beyond: bytes behind each body. Without any, bodies are padded to an even length.
    """
    for _ in range(_MOST_BLOCKS):
        header = file.read(8)
        if len(header) < 8:
            return
        first, second = struct.unpack(form, header)
        name, size = (first, second) if isinstance(first, bytes) else (second, first)
        body = file.tell()
        yield name, size
        file.seek(body + size + (beyond or size % 2))


def _of_tiff(file: BinaryIO, start: int) -> Iterator[Block]:
    """The tags of interest of a TIFF's first directory, each once; offsets count from `start`."""
    file.seek(start)
    head = file.read(8)
    if len(head) < 8 or head[:4] not in (b"II*\0", b"MM\0*"):
        return
    order = "<" if head[:2] == b"II" else ">"
    file.seek(start + struct.unpack(order + "I", head[4:])[0])
    count = file.read(2)
    if len(count) < 2:
        return
    entries = file.read(12 * struct.unpack(order + "H", count)[0])
    wanted = dict(_TIFF_TAGS)
    for tag, kind, number, place in struct.iter_unpack(
        order + "HHI4s", entries[: len(entries) // 12 * 12]
    ):
        size = number * _TIFF_SIZES.get(kind, 0)
        if tag not in wanted or not 0 < size <= MAXIMUM_BYTES:
            continue
        if size > 4:
            file.seek(start + struct.unpack(order + "I", place)[0])
        content = file.read(size) if size > 4 else place[:size]
        block = wanted.pop(tag)
        if len(content) == size:
            yield Block(block, content)


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        return unpacker.decompress(data, MAXIMUM_BYTES + 1)
    except zlib.error:
        return b""


def _searched(file: BinaryIO) -> Iterator[Block]:
    """The first XMP packet in a file of any kind: XMP is made to be found so."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(b"<x:xmpmeta")
        end = content.find(b"</x:xmpmeta>", start, start + MAXIMUM_BYTES) if start >= 0 else -1
        if end >= 0:
            yield Block("xmp", content[start : end + len(b"</x:xmpmeta>")])
