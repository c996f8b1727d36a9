import struct

import numpy as np
import pytest
from PIL import Image, ImageChops

from tests.images.encoded import difference, encode, picture, png_chunk
from twlcli.errors import ImageError
from twlcli.images.color import to_rgb
from twlcli.images.decode import open_upright

GRADIENT = np.linspace(0, 65535, 256).round().astype(np.uint16)[None].repeat(8, axis=0)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(open_upright(data)).astype(int)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_lies_on_white(mode):
    image = Image.new(mode, (12, 12), (0, 0, 0, 0) if mode == "RGBA" else (0, 0))
    image.paste(Image.new(mode, (4, 12), (0, 0, 0, 255) if mode == "RGBA" else (0, 255)), (0, 0))
    image.paste(Image.new(mode, (4, 12), (0, 0, 0, 51) if mode == "RGBA" else (0, 51)), (4, 0))
    row = pixels(encode(image, "PNG"))[6]
    assert row[[1, 5, 9]].tolist() == [[0] * 3, [204] * 3, [255] * 3]


def test_palette_with_transparency_lies_on_white():
    image = Image.new("P", (8, 8), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((3, 3), 1)
    for format_name in ("PNG", "GIF"):
        result = pixels(encode(image, format_name, transparency=0))
        assert result[0, 0].tolist() == [255, 255, 255]
        assert result[3, 3].tolist() == [200, 100, 50]
    translucent = pixels(encode(image, "PNG", transparency=bytes([51, 255])))
    assert translucent[0, 0].tolist() == [206, 208, 210]
    assert pixels(encode(image, "PNG"))[0, 0].tolist() == [10, 20, 30]


def test_palette_with_alpha_lies_on_white():
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0)).convert("PA")
    assert to_rgb(image).getpixel((0, 0)) == (255, 255, 255)


def test_one_transparent_color_lies_on_white():
    image = Image.new("RGB", (4, 4), (1, 2, 3))
    image.putpixel((0, 0), (9, 9, 9))
    result = pixels(encode(image, "PNG", transparency=(1, 2, 3)))
    assert result[0, 0].tolist() == [9, 9, 9]
    assert result[1, 1].tolist() == [255, 255, 255]


def test_one_bit_is_black_and_white():
    image = Image.new("1", (9, 9), 0)
    image.putpixel((4, 4), 1)
    for format_name in ("PNG", "TIFF", "BMP"):
        result = pixels(encode(image, format_name))
        assert result[4, 4].tolist() == [255] * 3
        assert result.sum() == 765


def test_cmyk_jpeg_with_adobe_marker():
    data = encode(picture().convert("CMYK"), "JPEG", quality=98)
    assert b"Adobe" in data
    assert difference(open_upright(data), picture()) < 3


def test_cmyk_jpeg_without_adobe_marker_is_not_inverted():
    data = encode(ImageChops.invert(picture().convert("CMYK")), "JPEG", quality=98)
    start = data.index(b"\xff\xee")
    length = struct.unpack(">H", data[start + 2 : start + 4])[0]
    plain = data[:start] + data[start + 2 + length :]
    assert b"Adobe" not in plain
    assert difference(open_upright(plain), picture()) < 3


def test_ycck_jpeg():
    # Photoshop stores inverted inks, of which cyan, magenta and yellow as YCC; the last byte of the
    # Adobe marker says so. Pillow inverts what it is given, so it is given the opposite.
    inks = ImageChops.invert(picture())
    luma_chroma = ImageChops.invert(inks.convert("YCbCr"))
    no_black = Image.new("L", picture().size, 0)
    given = Image.merge("CMYK", (*luma_chroma.split(), no_black))
    data = bytearray(encode(given, "JPEG", quality=98))
    data[data.index(b"Adobe") + 11] = 2
    assert difference(open_upright(bytes(data)), picture()) < 3


def test_cmyk_tiff():
    data = encode(picture().convert("CMYK"), "TIFF")
    assert difference(open_upright(data), picture()) < 1


@pytest.mark.parametrize("format_name", ["PNG", "TIFF"])
def test_sixteen_bit_gradient_stays_a_gradient(format_name):
    result = pixels(encode(Image.fromarray(GRADIENT), format_name))
    assert result[3].tolist() == [[level] * 3 for level in range(256)]


def test_sixteen_bit_big_endian_tiff():
    image = Image.frombytes("I;16B", (256, 8), GRADIENT.astype(">u2").tobytes())
    result = pixels(encode(image, "TIFF"))
    assert result[3, :, 0].tolist() == list(range(256))


def test_sixteen_bit_png_with_a_transparent_value():
    data = encode(Image.fromarray(GRADIENT), "PNG")
    start = data.index(b"IDAT") - 4
    value = int(GRADIENT[0, 100])
    result = pixels(data[:start] + png_chunk(b"tRNS", struct.pack(">H", value)) + data[start:])
    assert result[0, 100].tolist() == [255] * 3
    assert result[0, 99].tolist() == [99] * 3


@pytest.mark.parametrize("top", [1.0, 255.0, 65535.0, 1e6])
def test_float_gradient_stays_a_gradient(top):
    ramp = np.linspace(0, top, 256, dtype=np.float32)[None].repeat(4, axis=0)
    result = pixels(encode(Image.fromarray(ramp), "TIFF"))
    assert result[2, :, 0].tolist() == list(range(256))


@pytest.mark.parametrize("top", [255, 65535, 2**30])
def test_integer_gradient_stays_a_gradient(top):
    ramp = np.linspace(0, top, 256).round().astype(np.int32)[None].repeat(4, axis=0)
    result = pixels(encode(Image.fromarray(ramp), "TIFF"))
    assert np.abs(result[2, :, 0] - np.arange(256)).max() <= 1


@pytest.mark.parametrize("kind", ["I;16", "I;16B", "F"])
def test_tiff_whose_white_is_zero(kind):
    number = {"I;16": "<u2", "I;16B": ">u2", "F": "<f4"}[kind]
    image = Image.frombytes(kind, (256, 8), GRADIENT.astype(number).tobytes())
    data = bytearray(encode(image, "TIFF"))
    order = ">" if kind == "I;16B" else "<"
    start = data.index(struct.pack(f"{order}HHIH", 262, 3, 1, 1))
    data[start + 8 : start + 10] = bytes(2)
    result = pixels(bytes(data))
    assert result[3].tolist() == [[255 - level] * 3 for level in range(256)]


def bmp_with_alpha(alpha: list[int]) -> bytes:
    """A BMP of version 5, of one row of grey 100, with an alpha channel."""
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 124, len(alpha), 1, 1, 32, 3, 0, 0, 0, 0, 0) + masks
    row = b"".join(bytes([100, 100, 100, each]) for each in alpha)
    start = struct.pack("<2sIHHI", b"BM", 138 + len(row), 0, 0, 138)
    return start + header + bytes(124 - len(header)) + row


def test_an_alpha_channel_of_bmp_that_is_never_set_is_none():
    assert pixels(bmp_with_alpha([0, 0, 0]))[0].tolist() == [[100] * 3] * 3
    assert pixels(bmp_with_alpha([0, 255, 51]))[0].tolist() == [[255] * 3, [100] * 3, [224] * 3]
    png = encode(Image.new("RGBA", (3, 1), (100, 100, 100, 0)), "PNG")
    assert pixels(png)[0].tolist() == [[255] * 3] * 3


def test_to_rgb_names_a_mode_without_conversion():
    with pytest.raises(ImageError, match="colour mode La has no conversion to RGB"):
        to_rgb(Image.new("La", (4, 4)))
