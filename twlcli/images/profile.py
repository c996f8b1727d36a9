"""Colours as an embedded ICC profile means them, as sRGB.

Most profiles are sRGB's, in dozens of editions. They are recognised by their numbers, without
LittleCMS, and nothing is done. Format: ICC.1:2022, https://www.color.org/icc1v42.pdf
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:  # LittleCMS is loaded for the profile that needs it
    from PIL import ImageCms

MAX_PROFILE = 16 << 20  # bytes; the largest in use, of printing presses, have 3 MiB

# sRGB's primaries, adapted to the white of profiles (D50): X, Y, Z of red, green and blue.
_PRIMARIES = (0.43607, 0.22249, 0.01392, 0.38515, 0.71687, 0.09708, 0.14307, 0.06061, 0.71410)
_SAME_PRIMARY = 0.003
_SAME_TONE = 1 / 255
# Gamma 2.2 (Adobe RGB) differs from sRGB's tone curve by 0.034, 1.8 (ProPhoto) by 0.08. Below this
# the order of resizing and converting makes no visible difference: 52 dB on photographs.
_NEAR_TONE = 0.05
_SAMPLES = [step / 16 for step in range(17)]

_MODES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK", b"Lab ": "LAB"}
_GREYS = ("1", "L", "LA", "La", "I", "F")


class ProfileError(Exception):
    """A profile is damaged, or not one for the image."""


@dataclass(frozen=True)
class Conversion:
    """From a profile's colours to sRGB.

    Attributes:
        mode: of the images that are converted: RGB, L, CMYK or LAB.
        near: whether the tones are so near to sRGB's that an image may be resized first.
        transform: what converts.
    """

    mode: str
    near: bool
    transform: ImageCms.ImageCmsTransform

    def __call__(self, image: Image.Image) -> Image.Image:
        """An image of `mode`, or grey as RGB, as sRGB."""
        if self.mode == "L" and image.mode == "RGB":
            image = image.getchannel("R")
        return self.transform.apply(image)


def conversion_of(profile: bytes | None, image_mode: str) -> Conversion | None:
    """What brings an image with this profile to sRGB; None where it is sRGB already.

    Args:
        profile: the bytes of the profile; of LAB images it does not matter.
        image_mode: the image's, as Pillow decoded it.

    Raises:
        ProfileError: it cannot be used.
    """
    if image_mode == "LAB":
        return _conversion(b"", "LAB")
    if not profile or not 128 < len(profile) <= MAX_PROFILE:
        raise ProfileError("no profile, or one too large")
    mode = _MODES.get(profile[16:20])
    fits = {
        "RGB": image_mode not in ("CMYK", "LAB"),
        "L": image_mode in _GREYS or image_mode.startswith("I;"),
        "CMYK": image_mode == "CMYK",
    }
    if mode is None or not fits.get(mode):
        raise ProfileError("not one for such images")
    return _conversion(profile, mode)


@lru_cache(8)
def _conversion(profile: bytes, mode: str) -> Conversion | None:
    distance = _distance(profile) if mode in ("RGB", "L") else None
    if distance is not None and distance <= _SAME_TONE:
        return None
    try:
        from PIL import ImageCms

        built_in = mode == "LAB"
        transform = ImageCms.ImageCmsTransform(
            ImageCms.ImageCmsProfile(
                ImageCms.createProfile("LAB") if built_in else io.BytesIO(profile)
            ),
            _srgb(),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=_flags(mode),
        )
    except Exception as error:  # LittleCMS's, or that this Pillow is without it
        raise ProfileError(str(error)) from error
    return Conversion(mode, distance is not None and distance <= _NEAR_TONE, transform)


def _flags(mode: str) -> ImageCms.Flags:
    from PIL import ImageCms

    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    # What LittleCMS precalculates for grey is off by ten levels near black.
    return flags | ImageCms.Flags.NOOPTIMIZE if mode == "L" else flags


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _distance(profile: bytes) -> float | None:
    """How far tones are from sRGB's, at most, in 0..1; at least 2 / 255 for other primaries.

    None for a profile that is not made of primaries and curves.
    """
    try:
        tags = _tags(profile)
        if any(name[:3] in (b"A2B", b"D2B") for name in tags):
            return None
        if profile[16:20] == b"GRAY":
            return _tone_distance(tags[b"kTRC"])
        tones = max(_tone_distance(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC"))
        primaries = [
            number / 65536
            for name in (b"rXYZ", b"gXYZ", b"bXYZ")
            for number in struct.unpack(">3i", tags[name][8:20])
        ]
    except (KeyError, IndexError, ValueError, OverflowError, ZeroDivisionError, struct.error):
        return None
    differ = max(abs(ours - its) for ours, its in zip(_PRIMARIES, primaries, strict=True))
    return tones if differ <= _SAME_PRIMARY else max(tones, 2 / 255)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack(">I", profile[128:132])
    if count > 100:  # lcms2 has the same limit
        raise ValueError("too many tags")
    tags = {}
    for place in range(132, 132 + 12 * count, 12):
        name, start, size = struct.unpack(">4sII", profile[place : place + 12])
        tags[name] = profile[start : start + size]
    return tags


def _tone_distance(tag: bytes) -> float:
    """The largest difference of a curve from sRGB's, in the levels that sRGB would store."""
    curve = _curve(tag)
    return max(abs(_encoded(curve(sample)) - sample) for sample in _SAMPLES)


def _curve(tag: bytes) -> Callable[[float], float]:
    """The curve of a `curv` or `para` tag: what is stored, in 0..1, to linear light."""
    if tag[:4] == b"curv":
        (count,) = struct.unpack(">I", tag[8:12])
        if count == 0:
            return lambda stored: stored
        numbers = struct.unpack(f">{count}H", tag[12 : 12 + 2 * count])
        if count == 1:
            return lambda stored: stored ** (numbers[0] / 256)
        return lambda stored: _interpolated(numbers, stored) / 65535
    if tag[:4] != b"para":
        raise ValueError("no curve")
    (kind,) = struct.unpack(">H", tag[8:10])
    given = struct.unpack(f">{(1, 3, 4, 5, 7)[kind]}i", tag[12 : 12 + 4 * (1, 3, 4, 5, 7)[kind]])
    gamma, a, b, c, d, e, f = [number / 65536 for number in given] + [0.0] * (7 - len(given))
    if kind == 0:
        return lambda stored: stored**gamma
    if kind < 3:  # c is added everywhere, and the straight part is flat
        return lambda stored: (max(a * stored + b, 0.0) ** gamma) + c
    return lambda stored: max(a * stored + b, 0.0) ** gamma + e if stored >= d else c * stored + f


def _interpolated(numbers: Sequence[int], stored: float) -> float:
    place = stored * (len(numbers) - 1)
    below = min(int(place), len(numbers) - 2)
    return numbers[below] + (place - below) * (numbers[below + 1] - numbers[below])


def _encoded(linear: float) -> float:
    """Linear light as sRGB stores it; IEC 61966-2-1."""
    linear = min(max(linear, 0.0), 1.0)
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
