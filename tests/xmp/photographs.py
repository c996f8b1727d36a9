"""Photographs of a few pixels with metadata put into them byte by byte."""

import struct
from collections.abc import Sequence

from tests.images.encoded import encode, picture, png_chunk
from tests.tagging.outputs.test_xmp import described

UTF8 = b"\x1b%G"


def data_set(number: int, value: bytes, *, record: int = 2) -> bytes:
    return bytes([0x1C, record, number]) + struct.pack(">H", len(value)) + value


def iptc(*words: bytes, charset: bytes = b"") -> bytes:
    """IPTC-IIM with these keywords, between data sets of other kinds."""
    start = data_set(90, charset, record=1) if charset else b""
    keywords = b"".join(data_set(25, word) for word in words)
    return start + data_set(0, b"\0\4") + keywords + data_set(80, b"Ann")


def resources(content: bytes, *, name: bytes = b"") -> bytes:
    """Photoshop's resources: one of another kind, then IPTC."""
    other = b"8BIM\x03\xed\0\0" + struct.pack(">I", 3) + b"abc\0"
    title = bytes([len(name)]) + name + b"\0" * ((len(name) + 1) % 2)
    return other + b"8BIM\x04\x04" + title + struct.pack(">I", len(content)) + content


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg(*segments: bytes) -> bytes:
    data = encode(picture(), "JPEG")
    return data[:2] + b"".join(segments) + data[2:]


def jpeg_xmp(packet: bytes) -> bytes:
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)


def jpeg_iptc(content: bytes) -> bytes:
    return segment(0xED, b"Photoshop 3.0\0" + resources(content))


def tiff(entries: Sequence[tuple[int, int, bytes]], order: str = "<") -> bytes:
    """A TIFF's directory of tags of a type each with their bytes; it holds no image."""
    sizes = {1: 1, 2: 1, 4: 4, 7: 1}
    place = 8 + 2 + 12 * len(entries) + 4
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8)
    head += struct.pack(order + "H", len(entries))
    body = b""
    for tag, kind, content in entries:
        number = len(content) // sizes[kind]
        where = struct.pack(order + "I", place + len(body))
        if len(content) <= 4:
            where, content = content.ljust(4, b"\0"), b""
        head += struct.pack(order + "HHI", tag, kind, number) + where
        body += content
    return head + bytes(4) + body


def png(packet: bytes) -> bytes:
    data = encode(picture(), "PNG")
    chunk = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)
    return data[:-12] + chunk + data[-12:]


def webp(packet: bytes) -> bytes:
    chunks = b"VP8 \3\0\0\0abc\0XMP " + struct.pack("<I", len(packet)) + packet
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def heic(packet: bytes) -> bytes:
    return b"\0\0\0\x20ftypheic" + bytes(100) + packet + bytes(100)


def with_packet(packet: bytes) -> dict[str, bytes]:
    """A photograph of each kind with this packet, by suffix."""
    return {
        "jpg": jpeg(segment(0xE1, b"other\0"), jpeg_xmp(packet)),
        "png": png(packet),
        "webp": webp(packet),
        "tif": tiff([(256, 4, bytes(4)), (700, 1, packet)]),
        "dng": tiff([(700, 7, packet)], order=">"),
        "heic": heic(packet),
    }


PACKET = described("dog")
EVERY_KIND = {
    **with_packet(PACKET),
    "iptc.jpg": jpeg(jpeg_iptc(iptc(b"dog", b"sea"))),
    "iptc.tif": tiff([(33723, 7, iptc(b"dog"))]),
}
