"""Files and bytes to upright sRGB images: the one decoder of training, evaluation and tagging."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from PIL import ExifTags, Image, JpegImagePlugin, TiffImagePlugin

from twlcli.errors import ImageError
from twlcli.images.color import inks, to_rgb
from twlcli.images.decoding import MAX_PIXELS, USUAL, Caveat, Decoding
from twlcli.images.formats import RAW, format_name, open_image
from twlcli.images.quiet import pillow_silenced
from twlcli.images.reasons import reason_of, text_of, too_large

# A JPEG that is decoded at a reduced size may have so many times the pixels of others. Of a
# progressive one the decoder keeps up to 6 bytes for each.
_REDUCED, _REDUCED_PROGRESSIVE = 8, 2

_UPRIGHT = {  # EXIF orientation to the transposition that undoes it
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Resize = Callable[[Image.Image], Image.Image]
Noted = Callable[[Caveat], object]


def as_it_is(image: Image.Image) -> Image.Image:
    """For callers who resize an image later."""
    return image


def say_nothing(caveat: Caveat) -> None:
    """For callers whom it does not matter to."""


def read_upright(
    path: Path | str,
    *,
    shorter_side: int | None = None,
    decoding: Decoding = USUAL,
    resize: Resize = as_it_is,
    noted: Noted = say_nothing,
) -> Image.Image:
    """Decode an image file; otherwise as `open_upright`.

    Raises:
        ImageError: the file cannot be read or decoded; the message is the reason alone.
    """
    try:
        with Path(path).open("rb") as file:
            source = file if file.seekable() else file.read()  # a pipe has no way back
            return open_upright(
                source, shorter_side=shorter_side, decoding=decoding, resize=resize, noted=noted
            )
    except FileNotFoundError:
        raise ImageError("no such file") from None
    except IsADirectoryError:
        raise ImageError("is a folder") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise ImageError(f"cannot be read ({text_of(error)})") from error


def open_upright(
    source: bytes | BinaryIO,
    *,
    shorter_side: int | None = None,
    decoding: Decoding = USUAL,
    resize: Resize = as_it_is,
    noted: Noted = say_nothing,
) -> Image.Image:
    """Decode an image to sRGB, 8 bits, turned as its EXIF orientation says.

    Colours are taken as the embedded ICC profile means them. Transparency lies on white, 16-bit and
    float grey is scaled to 0..255, CMYK and LAB are converted, and of an animation the first frame
    is taken. Safe to call from several threads.

    Args:
        source: the bytes of the file, or the file opened for reading.
        shorter_side: the shorter side that is wanted in the end, pixels. A JPEG is then decoded at
            the smallest of 1/8, 1/4, 1/2 and full size whose shorter side is at least twice
            that, which is several times faster. None decodes at full size.
        decoding: the other settings; in place of its `exact` stands `shorter_side`.
        resize: from the upright image to the one that is wanted. Colours are converted after it
            where the order makes no visible difference, which spares most of the cost.
        noted: told what is odd about an image that was read all the same.

    Raises:
        ImageError: not an image, damaged, truncated, or too large; the message is the reason.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    head = file.read(32)
    if not head:
        raise ImageError("the file is empty")
    job = _Job(format_name(head), shorter_side, decoding)
    try:
        with pillow_silenced():
            try:
                image = job.load(file)
            except (ImageError, MemoryError):
                raise
            except Exception as error:
                image = job.load_mended(file, error)
            if job.damaged:
                noted(Caveat.DAMAGED)
            return _finished(image, resize, noted)
    except ImageError:
        raise
    except Exception as error:  # on damaged data Pillow's decoders raise nearly anything
        raise ImageError(reason_of(error, job.size, job.format)) from error


@dataclass
class _Job:
    """How one file is decoded, and what has turned out about it.

    Attributes:
        format: the one that the file promises; None where it promises none.
        shorter_side: see `open_upright`.
        decoding: likewise.
        size: width and height, once they are known.
        damaged: whether the image was read in spite of damage.
    """

    format: str | None
    shorter_side: int | None
    decoding: Decoding
    size: tuple[int, int] | None = None
    damaged: bool = False

    def load(self, file: BinaryIO, *, in_part: bool = False) -> Image.Image:
        """The decoded image, in Pillow's mode; `in_part` takes what is there of a damaged one."""
        image = self._opened(file)
        self.size = image.size
        limit = self.decoding.max_pixels
        if isinstance(image, JpegImagePlugin.JpegImageFile) and self.shorter_side is not None:
            limit *= _REDUCED_PROGRESSIVE if "progressive" in image.info else _REDUCED
            image.draft(None, (2 * self.shorter_side, 2 * self.shorter_side))
        self._check_size(self.size, limit)
        self._check_size(image.size, self.decoding.max_pixels)
        if isinstance(image, TiffImagePlugin.TiffImageFile) and _pixels(image.size) > MAX_PIXELS:
            past_pillows_limit = cast(Any, Image).core.new(image.mode, image._tile_size)
            image.im = past_pillows_limit
        try:
            image.load()
        except Exception:
            from twlcli.images.damage import has_pixels

            if not in_part or not has_pixels(image):
                raise
            self.damaged = True
        return image

    def load_mended(self, file: BinaryIO, error: Exception) -> Image.Image:
        """As `load`, for a file of which it raised an error.

        Raises:
            ImageError: what is wrong with the file.
            Exception: the same error, where nothing more is known.
        """
        if self.format is None or (isinstance(error, OSError) and error.errno is not None):
            raise error
        file.seek(0)
        content = file.read()
        if self.format == "TIFF":
            from twlcli.images.tiff import first_directory, is_raw, unsupported

            tags = first_directory(content)
            if is_raw(tags):
                self.format = RAW
                return self.load(io.BytesIO(content))
            if reason := unsupported(tags):
                raise ImageError(reason) from error
        from twlcli.images.damage import mended

        other = mended(content, self.format)
        accepts = self.decoding.accept_damaged
        first = error if other.wrong is None else ImageError(other.wrong)
        if not other.sound and not accepts:
            raise first
        try:
            image = self.load(io.BytesIO(other.content), in_part=accepts)
        except (ImageError, MemoryError):
            raise
        except Exception as second:
            raise second if other.sound else first from None
        self.damaged = self.damaged or not other.sound
        if other.profile is not None:
            image.info["icc_profile"] = other.profile
        return image

    def _opened(self, file: BinaryIO) -> Image.Image:
        if self.format == "JPEG XL":  # which is decoded as it is opened
            from twlcli.images.jpeg_xl import size_of

            file.seek(0)
            self.size = size_of(file.read())
            self._check_size(self.size or (0, 0), self.decoding.max_pixels)
        if self.format != RAW:
            image = open_image(file, self.format)
            if not isinstance(image, TiffImagePlugin.TiffImageFile):
                return image
            from twlcli.images.tiff import is_raw

            if not is_raw(image.tag_v2):
                return image
        from twlcli.images.raw import open_raw

        file.seek(0)
        limit = self.decoding.max_pixels
        return open_raw(file.read(), shorter_side=self.shorter_side, max_pixels=limit)

    def _check_size(self, size: tuple[int, int], most: int) -> None:
        if _pixels(size) > most:
            raise ImageError(too_large(_pixels(size), self.decoding.max_pixels))


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
        with pillow_silenced():
            image.load()
            return _finished(image, as_it_is, say_nothing)
    except ImageError:
        raise
    except AttributeError:
        raise ImageError(
            f"is of type {type(image).__name__}; expected a path, bytes, a Pillow image or an array"
        ) from None
    except Exception as error:  # a lazily opened image decodes only here
        raise ImageError(reason_of(error, None, getattr(image, "format", None))) from error


def _finished(image: Image.Image, resize: Resize, noted: Noted) -> Image.Image:
    """A decoded image as sRGB, upright and resized."""
    if "icc_profile" not in image.info and image.mode != "LAB":
        return resize(_turned(image, to_rgb(image)))
    from twlcli.images.profile import ProfileError, conversion_of

    try:
        conversion = conversion_of(image.info.get("icc_profile"), image.mode)
    except ProfileError:
        noted(Caveat.PROFILE_IGNORED)
        conversion = None
    if conversion is None:
        return resize(_turned(image, to_rgb(image)))
    if conversion.mode == "CMYK":
        return resize(_turned(image, conversion(inks(image))))
    rgb = image if conversion.mode == "LAB" else to_rgb(image)
    if conversion.near:
        return conversion(resize(_turned(image, rgb)))
    return resize(_turned(image, conversion(rgb)))


def _pixels(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _turned(image: Image.Image, rgb: Image.Image) -> Image.Image:
    """`rgb`, made from `image`, turned upright. Only `image` still has its metadata."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # a good image with damaged metadata is still a good image
        orientation = None
    transposition = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return rgb if transposition is None else rgb.transpose(transposition)
