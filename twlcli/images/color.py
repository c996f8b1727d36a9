"""Every mode that Pillow decodes to, as RGB of 8 bits."""

from __future__ import annotations

from PIL import Image, ImageChops

from twlcli.errors import ImageError

WHITE = (255, 255, 255)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a decoded image to mode RGB; transparency lies on white.

    Colour profiles are not looked at. Grey of more than 8 bits is scaled by the range of its type,
    as `grey_levels` says. An alpha channel of a BMP that is zero everywhere was never meant.

    Raises:
        ImageError: there is no conversion from the image's colour mode.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        from twlcli.images.grey import deep_grey_to_rgb  # NumPy is for these alone

        return deep_grey_to_rgb(image)
    if image.mode == "CMYK":
        image = inks(image)
    try:
        if image.has_transparency_data and not _is_unused_alpha(image):
            return _on_white(image.convert("RGBA"))
        return image if image.mode == "RGB" else image.convert("RGB")
    except ValueError:
        raise ImageError(f"colour mode {image.mode} has no conversion to RGB") from None


def inks(image: Image.Image) -> Image.Image:
    """A CMYK image with 255 for full ink.

    CMYK of a JPEG counts as inverted where an Adobe marker says so, as libvips and browsers do.
    """
    if image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        return ImageChops.invert(image)  # Pillow has inverted it as if the marker were there
    return image


def _is_unused_alpha(image: Image.Image) -> bool:
    if image.format != "BMP" or image.mode != "RGBA":
        return False
    return image.getchannel("A").getextrema() == (0, 0)


def _on_white(rgba: Image.Image) -> Image.Image:
    white = Image.new("RGB", rgba.size, WHITE)
    white.paste(rgba, mask=rgba.getchannel("A"))
    return white
