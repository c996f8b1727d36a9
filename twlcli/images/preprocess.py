"""Image files to the square crops that a model takes or learns from, in Pillow alone.

The processes that decode import no more than this: without NumPy they start in half the time.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image

from twlcli.errors import ImageError, ModelError
from twlcli.images.decode import Noted, open_upright, read_upright, say_nothing
from twlcli.images.decoding import USUAL, Decoding
from twlcli.images.image_file import MAX_BYTES, ByteRange, read_range
from twlcli.images.random_crop import RandomCrop
from twlcli.images.whole import Whole
from twlcli.model.preprocessing import INTERPOLATIONS, Preprocessing

RESAMPLING = {name: Image.Resampling[name.upper()] for name in INTERPOLATIONS}


def load_crop(
    path: Path,
    byte_range: ByteRange | None,
    cut: Preprocessing | RandomCrop | Whole,
    *,
    decoding: Decoding = USUAL,
    noted: Noted = say_nothing,
) -> Image.Image:
    """Read, decode, crop and resize an image file, or the part of a file that is one.

    Args:
        path: the file.
        byte_range: where the image lies in it; None for the whole file.
        cut: the model's preprocessing, what was drawn for training, or all of it.
        decoding: the other settings that change pixels.
        noted: told what is odd about an image that was read all the same.

    Returns:
        An RGB image of (crop, crop) or (size, size) pixels; what `Whole` says.

    Raises:
        ImageError: it cannot be read or decoded; the message is the reason alone.
        ModelError: the interpolation is not known.
    """
    crop: Callable[[Image.Image], Image.Image]
    if isinstance(cut, Preprocessing):
        needed, crop = cut.resize, partial(cropped, preprocessing=cut)
    elif isinstance(cut, Whole):
        needed, crop = cut.side, cut.drawn
    else:
        needed, crop = cut.shorter_side, partial(_cut_out, cut=cut)
    shorter_side = None if decoding.exact else needed
    if byte_range is None:
        _check_not_special(path)
        return read_upright(
            path, shorter_side=shorter_side, decoding=decoding, resize=crop, noted=noted
        )
    content = read_range(path, byte_range)
    return open_upright(
        content, shorter_side=shorter_side, decoding=decoding, resize=crop, noted=noted
    )


def cropped(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """Make the square that the preprocessing describes; usually it is cut from the centre.

    Where the shorter side is resized and the square cut, it is the same as torchvision's
    `Resize(resize, antialias=True)` and `CenterCrop(crop)` on a Pillow image, to within one grey
    level, two in a few values of noise; here one resampling computes only the pixels of the crop.
    Bicubic may differ by more in about one value in 10,000 (50 photos), where the kernel overshoots
    black or white: Pillow clips between its two passes and chooses their order by size.

    Args:
        image: an RGB image, upright.
        preprocessing: the model's.

    Raises:
        ModelError: the interpolation is not known.
    """
    try:
        resampling = RESAMPLING[preprocessing.interpolation]
    except KeyError:
        raise ModelError(
            f"interpolation '{preprocessing.interpolation}' is not known "
            f"({', '.join(INTERPOLATIONS)})"
        ) from None
    side = preprocessing.crop
    resize = preprocessing.resize
    if preprocessing.fit == "crop":
        box = _source_box(image.size, resize=resize, crop=side)
        return image.resize((side, side), resampling, box=box)
    if preprocessing.fit == "pad":
        image = _padded(image)
    whole = image.resize((resize, resize), resampling)
    edge = round((resize - side) / 2)
    return whole.crop((edge, edge, edge + side, edge + side)) if edge else whole


_MOST_PADDED = 8192  # pixels of a side; white around a long strip would need gigabytes


def _padded(image: Image.Image) -> Image.Image:
    """The image in the middle of a white square; a very long one is made smaller first."""
    if max(image.size) > _MOST_PADDED:
        image = image.copy()
        image.thumbnail((_MOST_PADDED, _MOST_PADDED), Image.Resampling.BOX)
    side = max(image.size)
    square = Image.new("RGB", (side, side), "white")
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def _check_not_special(path: Path) -> None:
    """Raise ImageError for a pipe, a socket, a device or a huge file: none ends in time."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return  # reading it says why
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise ImageError(f"not a file ({stat.filemode(status.st_mode)})")
    if status.st_size > MAX_BYTES:
        raise ImageError(f"too large: {status.st_size:,} bytes, the limit is {MAX_BYTES:,}")


def _cut_out(image: Image.Image, cut: RandomCrop) -> Image.Image:
    """The part that was drawn; a large JPEG was decoded no larger than it needs."""
    size = cut.size, cut.size
    part = image.resize(size, RESAMPLING[cut.interpolation], box=cut.box(image.size))
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if cut.is_mirrored else part


def _source_box(
    size: tuple[int, int], *, resize: int, crop: int
) -> tuple[float, float, float, float]:
    """The part of an image of `size` that becomes the crop: left, top, right, bottom in pixels.

    Rounds as torchvision does: the longer side down, the crop's corner to the nearest.
    """
    width, height = size
    shorter = min(size)
    resized_width, resized_height = resize * width // shorter, resize * height // shorter
    left, top = round((resized_width - crop) / 2), round((resized_height - crop) / 2)
    across, down = width / resized_width, height / resized_height
    return left * across, top * down, (left + crop) * across, (top + crop) * down
