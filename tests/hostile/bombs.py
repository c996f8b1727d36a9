"""Small image files that ask for much time or memory."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.images.encoded import png_chunk

PNG = b"\x89PNG\r\n\x1a\n"
MIB = 1 << 20


def zeros(size: int) -> bytes:
    """So many zero bytes, compressed a MiB at a time."""
    packer = zlib.compressobj()
    parts = [packer.compress(bytes(MIB)) for _ in range(size // MIB)]
    return b"".join((*parts, packer.compress(bytes(size % MIB)), packer.flush()))


def png_header(width: int, height: int, *, colour: int = 2) -> bytes:
    return PNG + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))


def png(width: int, height: int, *between: bytes) -> bytes:
    rows = zeros((width * 3 + 1) * height)
    chunks = *between, png_chunk(b"IDAT", rows), png_chunk(b"IEND", b"")
    return png_header(width, height) + b"".join(chunks)


def png_of_many_chunks() -> bytes:
    return png(8, 8, png_chunk(b"prVt", b"") * 300_000)


def gif_of_many_frames() -> bytes:
    file = io.BytesIO()
    Image.new("P", (8, 8)).save(file, "GIF")
    content = file.getvalue()[:-1]
    frame = content[content.rindex(b",") :]
    return content + frame * 300_000 + b";"


def gif_of_many_pixels() -> bytes:
    """13,000 × 13,000 pixels, of which one is there."""
    file = io.BytesIO()
    Image.new("P", (1, 1)).save(file, "GIF")
    content = bytearray(file.getvalue())
    size = struct.pack("<HH", 13_000, 13_000)
    content[6:10] = size
    start = content.index(b",")
    content[start + 5 : start + 9] = size
    return bytes(content)


def jpeg_of_many_scans() -> bytes:
    """One scan over and over: each goes through the whole picture again."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).resize((2000, 2000)).save(file, "JPEG", progressive=True)
    content = file.getvalue()
    starts = list(_places(content, b"\xff\xda"))
    return content[:-2] + content[starts[-1] : starts[-1] + 64] * 20_000 + content[-2:]


def bmp_of_many_pixels() -> bytes:
    """13,000 × 13,000 pixels in run lengths, of which none is there."""
    palette = bytes(1024)
    info = struct.pack("<IiiHHIIiiII", 40, 13_000, 13_000, 1, 8, 1, 4, 0, 0, 256, 0)
    start = 14 + len(info) + len(palette)
    return struct.pack("<2sIHHI", b"BM", start + 4, 0, 0, start) + info + palette + bytes(4)


def tiff(*entries: tuple[int, int, int, int], next_page: int = 0) -> bytes:
    """A TIFF of one page at byte 8: its entries of tag, kind, count and value."""
    fields = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    page = struct.pack("<H", len(entries)) + fields + struct.pack("<I", next_page)
    return struct.pack("<2sHI", b"II", 42, 8) + page


def page_of(width: int, height: int) -> list[tuple[int, int, int, int]]:
    return [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 4, 1, height),
        (279, 4, 1, width * height),
    ]


def tiff_whose_pages_go_round() -> bytes:
    return tiff(*page_of(8, 8), next_page=8)


def tiff_of_many_values() -> bytes:
    return tiff(*page_of(8, 8), (320, 3, 0xFFFFFFFF, 8), (34675, 7, 0xFFFFFFF0, 8))


def tiff_of_many_pixels() -> bytes:
    return tiff(*page_of(13_000, 13_000))


def exif_that_goes_round() -> bytes:
    file = io.BytesIO()
    inside = tiff((34665, 4, 1, 8), (274, 3, 1, 6), next_page=8)
    Image.new("RGB", (64, 64)).save(file, "JPEG", exif=b"Exif\0\0" + inside)
    return file.getvalue()


def _places(content: bytes, what: bytes) -> Iterator[int]:
    place = content.find(what)
    while place >= 0:
        yield place
        place = content.find(what, place + 1)


BOMBS = {
    "many chunks.png": png_of_many_chunks,
    "frames.gif": gif_of_many_frames,
    "pixels.gif": gif_of_many_pixels,
    "scans.jpg": jpeg_of_many_scans,
    "pixels.bmp": bmp_of_many_pixels,
    "pages.tif": tiff_whose_pages_go_round,
    "values.tif": tiff_of_many_values,
    "pixels.tif": tiff_of_many_pixels,
    "exif.jpg": exif_that_goes_round,
    "beyond.png": lambda: png_header(65_535, 65_535),
}
LARGE_BOMBS = {
    "pixels.png": lambda: png(13_000, 13_000),
    "profile.png": lambda: png(8, 8, png_chunk(b"iCCP", b"a\0\0" + zeros(1 << 30))),
    "text.png": lambda: png(8, 8, png_chunk(b"zTXt", b"a\0\0" + zeros(1 << 30))),
    "texts.png": lambda: png(8, 8, png_chunk(b"zTXt", b"a\0\0" + zeros(1 << 26)) * 64),
}
