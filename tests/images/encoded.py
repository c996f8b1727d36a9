"""Small images, encoded for the tests."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def encode(image: Image.Image, format_name: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def picture(width: int = 60, height: int = 40) -> Image.Image:
    """A smooth picture without any symmetry: red grows to the right, green downward."""
    rows, columns = np.mgrid[:height, :width]
    red, green = columns * 255 // (width - 1), rows * 255 // (height - 1)
    return Image.fromarray(np.stack([red, green, (red + 255) // 4], axis=2).astype(np.uint8))


def noise(width: int = 200, height: int = 150) -> Image.Image:
    generator = np.random.default_rng(0)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


def difference(first: Image.Image, second: Image.Image) -> float:
    """The mean absolute difference of two images in grey levels; infinite for two sizes."""
    if first.size != second.size:
        return float("inf")
    return float(np.abs(np.asarray(first, dtype=float) - np.asarray(second, dtype=float)).mean())


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def huge_png(side: int = 30_000) -> bytes:
    """A valid 1-bit PNG of side × side pixels in about 100 kB: its rows are all zero."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    chunks = (b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(name, body) for name, body in chunks)
