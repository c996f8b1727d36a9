"""Files that Pillow refuses: what is wrong with them, and what of them can be read."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image, ImageChops, JpegImagePlugin

from twlcli.images.profile import MAX_PROFILE

_JPEG_END = b"\xff\xd9"
_JPEG_COMPARED = 25_000_000  # pixels; larger ones are compared at an eighth of their size
_PNG_START = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_MAX_TEXT = 1 << 20  # bytes of one text of a PNG; Pillow refuses to inflate more
_MAX_TEXTS = 32 << 20  # of all of them; Pillow's own limit is twice that


@dataclass(frozen=True)
class Mended:
    """A file to read in place of one that Pillow refused.

    Attributes:
        content: the file.
        wrong: what is wrong with the other one, if that is known.
        sound: whether nothing is: Pillow's limits were too narrow.
        profile: the colour profile, where it had to be taken out; empty where it is no use.
    """

    content: bytes
    wrong: str | None = None
    sound: bool = False
    profile: bytes | None = None


def mended(content: bytes, format_name: str | None) -> Mended:
    """What to read in place of a file that Pillow refused, which may be the same."""
    if format_name == "PNG" and content.startswith(_PNG_START):
        return _mended_png(content)
    if format_name == "JPEG":
        return _mended_jpeg(content)
    return Mended(content)


def has_pixels(image: Image.Image) -> bool:
    """Whether some pixels of an image were decoded before its file turned out to be damaged.

    Then Pillow takes the image for loaded. One of a single colour counts as not decoded.
    """
    if getattr(image, "_im", None) is None:
        return False
    setattr(image, "tile", [])  # noqa: B010  of image files only
    ranges = image.getextrema()
    bands = ranges if isinstance(ranges[0], tuple) else (ranges,)
    return any(low != high for low, high in bands)


def _mended_jpeg(content: bytes) -> Mended:
    """Ended as it should be: the decoder then makes up what is missing.

    What it makes up depends on the bytes before the end; where it does not, nothing is missing.
    """
    whole = content + _JPEG_END
    try:
        first, second = (_decoded(each) for each in (whole, content + b"\x55" * 1024 + _JPEG_END))
        nothing_missing = ImageChops.difference(first, second).getbbox() is None
    except Exception:  # not truncated, or not only
        return Mended(whole)
    wrong = "JPEG without its end marker; its pixels are all there" if nothing_missing else None
    return Mended(whole, wrong)


def _decoded(content: bytes) -> Image.Image:
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(content))
    if image.width * image.height > _JPEG_COMPARED:
        image.draft(None, (1, 1))
    image.load()
    return image


def _mended_png(content: bytes) -> Mended:
    """Without texts that are too long, and with checksums that are right."""
    kept, wrong, profile, too_long = [_PNG_START], None, None, False
    texts = 0
    for name, body, checksum in _png_chunks(content):
        is_right = checksum in (None, zlib.crc32(name + body))
        is_extra = name[:1].islower()
        if not is_right and name != b"IDAT":  # Pillow does not look at those
            wrong = (
                wrong or f"damaged PNG: the checksum of its {name.decode('ascii')} chunk is wrong"
            )
            if is_extra:
                continue
        if name == b"iCCP":
            profile = _png_profile(body)
            continue
        if name in _TEXTS:
            length = _text_length(name, body)
            texts += length
            if length > _MAX_TEXT or texts > _MAX_TEXTS:
                too_long = True
                continue
        kept.append(struct.pack(">I", len(body)) + name + body)
        kept.append(struct.pack(">I", zlib.crc32(name + body)))
    sound = wrong is None and (too_long or profile is not None)
    return Mended(b"".join(kept), wrong, sound, profile)


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes, int | None]]:
    """Name, body and checksum of each chunk; the last may be cut off."""
    place = len(_PNG_START)
    while place + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, place)
        if not name.isalpha():
            return
        end = place + 8 + length
        (checksum,) = struct.unpack_from(">I", content, end) if end + 4 <= len(content) else (None,)
        yield name, content[place + 8 : end], checksum
        place = end + 4


def _png_profile(body: bytes) -> bytes:
    """The profile in an iCCP chunk; empty where it is damaged or too large."""
    method, packed = body.partition(b"\0")[2][:1], body.partition(b"\0")[2][1:]
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(packed, MAX_PROFILE)
    except zlib.error:
        return b""
    return profile if method == b"\0" and not unpacker.unconsumed_tail else b""


def _text_length(name: bytes, body: bytes) -> int:
    """How long a text is, inflated; where it is more than `_MAX_TEXT`, anything above that."""
    rest = body.partition(b"\0")[2]
    if name == b"tEXt" or (name == b"iTXt" and rest[:1] == b"\0"):
        return len(rest)
    packed = rest[1:] if name == b"zTXt" else rest[2:].split(b"\0", 2)[-1]
    unpacker = zlib.decompressobj()
    try:
        length = len(unpacker.decompress(packed, _MAX_TEXT))
    except zlib.error:
        return 0  # Pillow passes over it
    return length + len(unpacker.unconsumed_tail)
