"""Files and bytes to upright RGB images: the one decoder of training, evaluation and tagging."""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, cast

from PIL import (  # importing a plugin registers it; the others of Pillow's are not wanted
    AvifImagePlugin,  # noqa: F401
    BmpImagePlugin,  # noqa: F401
    ExifTags,
    GifImagePlugin,  # noqa: F401
    Image,
    JpegImagePlugin,
    PngImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from twlcli.errors import ImageError
from twlcli.images.color import to_rgb

FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
MAX_PIXELS = 178_956_970  # where Pillow itself refuses: 0.5 GB of RGB

_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
)
_HEIF_BRANDS = frozenset([b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"])

_UPRIGHT = {  # EXIF orientation to the transposition that undoes it
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_upright(
    path: Path | str, *, shorter_side: int | None = None, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Decode an image file; otherwise as `open_upright`.

    Raises:
        ImageError: the file cannot be read or decoded; the message is the reason alone.
    """
    try:
        with Path(path).open("rb") as file:
            source = file if file.seekable() else file.read()  # a pipe has no way back
            return open_upright(source, shorter_side=shorter_side, max_pixels=max_pixels)
    except FileNotFoundError:
        raise ImageError("no such file") from None
    except IsADirectoryError:
        raise ImageError("is a folder") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise ImageError(f"cannot be read ({_text(error)})") from error


def open_upright(
    source: bytes | BinaryIO, *, shorter_side: int | None = None, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Decode an image to RGB, 8 bits, turned as its EXIF orientation says.

    Transparency lies on white, 16-bit and float grey is scaled to 0..255, CMYK is converted, and
    of an animation the first frame is taken. Safe to call from several threads.

    Args:
        source: the bytes of the file, or the file opened for reading.
        shorter_side: the shorter side that is wanted in the end, pixels. A JPEG is then decoded at
            the smallest of 1/8, 1/4, 1/2 and full size whose shorter side is at least twice
            that, which is several times faster. None decodes at full size.
        max_pixels: more pixels than this are refused from the header alone. Pillow's own limit,
            the default, stays in force above.

    Raises:
        ImageError: not an image, damaged, truncated, or too large; the message is the reason.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    head = file.read(32)
    if not head:
        raise ImageError("the file is empty")
    size: tuple[int, int] | None = None
    try:
        with _pillow_silenced():
            image = _open(file, head)
            size = image.size
            if size[0] * size[1] > max_pixels:
                raise ImageError(_too_large(size[0] * size[1], max_pixels))
            if shorter_side is not None and isinstance(image, JpegImagePlugin.JpegImageFile):
                image.draft(None, (2 * shorter_side, 2 * shorter_side))
            image.load()
            return _turned(image, to_rgb(image))
    except ImageError:
        raise
    except Exception as error:  # on damaged data Pillow's decoders raise nearly anything
        raise ImageError(_reason(error, size, _format_name(head))) from error


def upright(image: Image.Image | Any) -> Image.Image:
    """An image in memory as RGB of 8 bits, turned as its EXIF orientation says; else a copy.

    Args:
        image: a Pillow image, or a uint8 array (H, W, 3) RGB or (H, W) grey.

    Raises:
        ImageError: neither of these, or it cannot be decoded; the message is the reason.
    """
    try:
        if not isinstance(image, Image.Image):
            shape, kind = tuple(image.shape), str(image.dtype)
            fits = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
            if kind != "uint8" or not fits or 0 in shape:
                expected = "expected uint8 (H, W, 3) RGB or (H, W) grey"
                raise ImageError(f"an array of {kind} {shape}; {expected}")
            image = Image.fromarray(image)
        if 0 in image.size:
            raise ImageError(f"an image of {image.width} x {image.height} pixels")
        with _pillow_silenced():
            image.load()
            return _turned(image, to_rgb(image))
    except ImageError:
        raise
    except AttributeError:
        raise ImageError(
            f"is of type {type(image).__name__}; expected a path, bytes, a Pillow image or an array"
        ) from None
    except Exception as error:  # a lazily opened image decodes only here
        raise ImageError(_reason(error, None, getattr(image, "format", None))) from error


def _open(file: BinaryIO, head: bytes) -> Image.Image:
    formats = FORMATS
    if _format_name(head) == "HEIC":
        _register_heif()
        formats = (*FORMATS, "HEIF")
    try:
        return Image.open(file, formats=formats)
    except UnidentifiedImageError:
        name = _format_name(head)
        if name is None:
            known = "JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC"
            raise ImageError(f"not an image (expected {known})") from None
        raise ImageError(f"damaged or truncated {name}") from None
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))  # Pillow gives the size in its text only
        reason = _too_large(int(pixels[0]), MAX_PIXELS) if pixels else "too large"
        raise ImageError(reason) from None


def _format_name(head: bytes) -> str | None:
    """The format that the first 32 bytes of a file promise."""
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        if b"avif" in head[8:] or b"avis" in head[8:]:
            return "AVIF"
        return "HEIC" if head[8:12] in _HEIF_BRANDS else None
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


@cache
def _register_heif() -> None:
    try:
        import pillow_heif
    except ImportError:
        raise ImageError("HEIC needs the 'heic' extra: pip install 'twlcli[heic]'") from None
    pillow_heif.register_heif_opener()


def _too_large(pixels: int, limit: int) -> str:
    return f"too large: {pixels / 1e6:,.1f} megapixels, the limit is {limit / 1e6:,.1f}"


def _turned(image: Image.Image, rgb: Image.Image) -> Image.Image:
    """`rgb`, made from `image`, turned upright. Only `image` still has its metadata."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # a good image with damaged metadata is still a good image
        orientation = None
    transposition = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return rgb if transposition is None else rgb.transpose(transposition)


def _reason(error: Exception, size: tuple[int, int] | None, format_name: str | None) -> str:
    if isinstance(error, MemoryError):
        pixels = f" for {size[0]} × {size[1]} pixels" if size else ""
        return f"not enough memory{pixels}"
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot be read ({_text(error)})"
    text = _text(error)
    ends_early = ("truncated", "end of file")
    if isinstance(error, EOFError) or any(words in text.lower() for words in ends_early):
        return f"truncated {format_name or 'file'}"
    return f"damaged or truncated {format_name or 'file'} ({text})"


def _text(error: Exception) -> str:
    """The error in words on one line, without the file's name."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


_silence_lock = threading.Lock()
_silence_depth = 0
_silence_filter: Any = None


@contextmanager
def _pillow_silenced() -> Iterator[None]:
    """Ignore the warnings that Pillow's modules give about odd files.

    `warnings.catch_warnings` restores what it saw on entry, so that threads which overlap would
    leave each other's filters behind. Here the first one in adds one filter to the list and the
    last one out removes that filter only.
    """
    global _silence_depth, _silence_filter
    with _silence_lock:
        if _silence_depth == 0:
            warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif)\.")
            _silence_filter = warnings.filters[0]
        _silence_depth += 1
    try:
        yield
    finally:
        with _silence_lock:
            _silence_depth -= 1
            if _silence_depth == 0 and _silence_filter in warnings.filters:
                cast(list[Any], warnings.filters).remove(_silence_filter)
