"""Why an image cannot be read, in words of twl's."""

from __future__ import annotations

import re

from PIL import Image, UnidentifiedImageError

from twlcli.images.decoding import MAX_PIXELS


def reason_of(error: Exception, size: tuple[int, int] | None, name: str | None) -> str:
    """The reason on one line, for an error of Pillow's.

    Args:
        error: what Pillow raised.
        size: width and height, where they are known.
        name: the format that the file promises; None where it promises none.
    """
    if isinstance(error, MemoryError):
        needed = f" for {size[0]} × {size[1]} pixels" if size else ""
        return f"not enough memory{needed}"
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot be read ({text_of(error)})"
    if isinstance(error, Image.DecompressionBombError):
        pixels = re.search(r"\d+", str(error))  # Pillow gives the size in its text only
        return too_large(int(pixels[0]), MAX_PIXELS) if pixels else "too large"
    if isinstance(error, UnidentifiedImageError) or name == "JPEG XL":  # whose text is for builders
        if name is None:
            known = "JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF, JPEG 2000 or HEIC"
            return f"not an image (expected {known})"
        return f"damaged or truncated {name}"
    text = text_of(error)
    ends_early = ("truncated", "end of file")
    if isinstance(error, EOFError) or any(words in text.lower() for words in ends_early):
        return f"truncated {name or 'file'}"
    return f"damaged or truncated {name or 'file'} ({text})"


def text_of(error: Exception) -> str:
    """The error in words on one line, without the file's name."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def too_large(pixels: int, limit: int) -> str:
    """What is said of an image of more pixels than may be decoded."""
    return f"too large: {pixels / 1e6:,.1f} megapixels, the limit is {limit / 1e6:,.1f}"
