"""Which format a file has, and Pillow's plugin for it."""

from __future__ import annotations

from functools import cache
from typing import BinaryIO

from PIL import (  # importing a plugin registers it; the others of Pillow's are not wanted
    AvifImagePlugin,  # noqa: F401
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    TiffImagePlugin,
    WebPImagePlugin,  # noqa: F401
)

from twlcli.errors import ImageError

# Pillow has this one for little-endian files only: grey of 16 bits whose white is zero.
TiffImagePlugin.OPEN_INFO.setdefault((b"MM", 0, (1,), 1, (16,), ()), ("I;16B", "I;16B"))

FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
RAW = "RAW"

_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"8BPS", "Photoshop"),
    *((start, RAW) for start in (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR")),
    *((start, RAW) for start in (b"IIU\0", b"FOVb", b"\0MRM")),
)
_HEIF_BRANDS = frozenset([b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"])
_PLUGINS = {"WebP": "WEBP", "HEIC": "HEIF", "JPEG XL": "JXL", "JPEG 2000": "JPEG2000"}


def format_name(head: bytes) -> str | None:
    """The format that the first 32 bytes of a file promise; None if they promise no photograph."""
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        if b"avif" in head[8:] or b"avis" in head[8:]:
            return "AVIF"
        if head[8:12] == b"crx ":  # Canon's CR3
            return RAW
        return "HEIC" if head[8:12] in _HEIF_BRANDS else None
    if head.startswith(b"II*\0") and head[8:10] == b"CR":  # Canon's CR2
        return RAW
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


def open_image(file: BinaryIO, name: str | None) -> Image.Image:
    """Open a file of a format other than `RAW`; its pixels are not decoded yet.

    How large it may be is for the caller to check.

    Raises:
        ImageError: what reads this format is not installed.
        Exception: of Pillow's, where the file is damaged; it raises nearly anything.
    """
    formats = FORMATS
    if name in ("HEIC", "JPEG XL", "JPEG 2000", "Photoshop"):
        _register(name)
        formats = (_PLUGINS[name],)
    try:
        file.seek(0)
        return Image.open(file, formats=formats)
    except Image.DecompressionBombError:  # Pillow's limit, which no reduced decoding can keep
        if name is None:
            raise
        file.seek(0)
        return Image.OPEN[_PLUGINS.get(name, name)][0](file, "")


@cache
def _register(name: str) -> None:
    """Make Pillow know a format that is seldom needed."""
    from twlcli.images.kinds import HEIC, JPEG_XL, PHOTOSHOP

    try:
        if name == "HEIC":
            import pillow_heif

            pillow_heif.register_heif_opener()
        elif name == "JPEG XL":
            from pillow_jxl import JpegXLImagePlugin

            JpegXLImagePlugin.DECODE_THREADS = 0  # images are decoded beside each other already
        elif name == "JPEG 2000":
            from PIL import Jpeg2KImagePlugin, features

            assert Jpeg2KImagePlugin
            if not features.check("jpg_2000"):
                raise ImageError("not supported: JPEG 2000, which this build of Pillow lacks")
        else:
            raise PHOTOSHOP.refusal
    except ImportError:
        raise (HEIC if name == "HEIC" else JPEG_XL).refusal from None
