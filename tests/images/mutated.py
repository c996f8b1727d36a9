"""Image files of every format that a decoder has been asked to survive, damaged in many ways."""

import random
import struct
import zlib
from collections.abc import Iterator
from functools import cache

import numpy as np
from PIL import Image, PngImagePlugin

from tests.images import icc
from tests.images.encoded import encode, noise, picture

SUFFIXES = {
    "JPEG": "jpg",
    "PNG": "png",
    "WEBP": "webp",
    "TIFF": "tif",
    "GIF": "gif",
    "BMP": "bmp",
    "AVIF": "avif",
    "JPEG2000": "jp2",
}


@cache
def whole_files() -> tuple[tuple[str, bytes], ...]:
    """Good files of all formats, and of the variants whose decoders differ."""
    smooth, rough = picture(90, 60), noise(64, 48)
    exif = Image.Exif()
    exif[0x0112] = 6
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * 2000, zip=True)
    frames = {"save_all": True, "append_images": [rough.resize((90, 60))], "duration": 50}
    deep = Image.fromarray(np.linspace(0, 65535, 2400).astype(np.uint16).reshape(40, 60))
    swapped = icc.of_primaries((icc.SRGB[1], icc.SRGB[2], icc.SRGB[0]), icc.gamma(1.5))
    press = icc.of_inks(lambda c, m, y, k: (100 - 30 * (c + m + y) / 3 - 60 * k, 20 * m, 20 * y))
    kinds: list[tuple[str, Image.Image, dict[str, object]]] = [
        ("JPEG", smooth, {"exif": exif}),
        ("JPEG", rough, {"progressive": True}),
        ("JPEG", smooth.convert("CMYK"), {}),
        ("JPEG", rough.convert("L"), {"restart_marker_blocks": 4}),
        ("PNG", smooth, {"pnginfo": text}),
        ("PNG", rough.convert("P"), {"transparency": 3}),
        ("PNG", deep, {}),
        ("PNG", smooth.convert("RGBA"), {"exif": exif}),
        ("WEBP", rough, {"quality": 60}),
        ("WEBP", smooth.convert("RGBA"), {"lossless": True}),
        ("WEBP", smooth, frames),
        ("TIFF", rough, {"compression": "raw"}),
        ("TIFF", rough, {"compression": "tiff_lzw"}),
        ("TIFF", rough, {"compression": "tiff_adobe_deflate"}),
        ("TIFF", rough, {"compression": "jpeg"}),
        ("TIFF", rough, {"compression": "packbits"}),
        ("TIFF", rough, {"compression": "zstd"}),
        ("TIFF", smooth.convert("1"), {"compression": "group4"}),
        ("TIFF", deep, {}),
        ("TIFF", smooth.convert("CMYK"), {}),
        ("GIF", smooth.convert("P"), frames),
        ("GIF", rough.convert("P"), {"interlace": 1}),
        ("BMP", smooth, {}),
        ("BMP", rough.convert("P"), {}),
        ("AVIF", smooth, {}),
        ("JPEG", rough, {"icc_profile": swapped}),
        ("PNG", smooth, {"icc_profile": icc.of_primaries(icc.P3, icc.SRGB_TABLE)}),
        ("TIFF", smooth.convert("CMYK"), {"icc_profile": press}),
        ("WEBP", smooth, {"icc_profile": swapped, "lossless": True}),
        ("JPEG2000", smooth, {}),
    ]
    return tuple((name, encode(image, name, **options)) for name, image, options in kinds)


def mutated_files(count: int, *, seed: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents; all formats in turn, with one to four kinds of damage each."""
    dice = random.Random(seed)
    files = whole_files()
    for number in range(count):
        format_name, content = files[number % len(files)]
        data = bytearray(content)
        for _ in range(dice.randint(1, 4)):
            dice.choice(DAMAGES)(data, dice)
        if format_name == "PNG" and dice.random() < 0.7:
            mend_checksums(data)
        yield f"{number:06}.{SUFFIXES[format_name]}", bytes(data)


def flip_bits(data: bytearray, dice: random.Random) -> None:
    for _ in range(dice.choice((1, 3, 30))):
        if data:
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def damage_header(data: bytearray, dice: random.Random) -> None:
    """Most of what makes a decoder allocate or jump stands in the first bytes."""
    for _ in range(dice.randint(1, 4)):
        if data:
            data[dice.randrange(min(len(data), 120))] = dice.choice((0, 1, 127, 128, 255))


def write_extreme_number(data: bytearray, dice: random.Random) -> None:
    values = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, dice.getrandbits(32))
    number = struct.pack(dice.choice("<>") + "I", dice.choice(values))[: dice.choice((2, 4))]
    if len(data) > 8:
        place = dice.randrange(min(len(data) - 4, 400))
        data[place : place + len(number)] = number


def cut(data: bytearray, dice: random.Random) -> None:
    del data[dice.randrange(len(data) + 1) :]


def remove(data: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(data) + 1)
    del data[start : start + dice.choice((1, 7, 300))]


def repeat(data: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(data) + 1)
    part = data[start : start + dice.choice((1, 16, 500))]
    data[start:start] = part * dice.choice((1, 2, 50))


def insert(data: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(data) + 1)
    data[start:start] = dice.choice((b"\0", b"\xff", dice.randbytes(1))) * dice.choice((1, 4, 4000))


def splice(data: bytearray, dice: random.Random) -> None:
    """The beginning of this file and the end of another."""
    _, other = dice.choice(whole_files())
    data[dice.randrange(len(data) + 1) :] = other[dice.randrange(len(other)) :]


DAMAGES = (
    flip_bits,
    damage_header,
    write_extreme_number,
    cut,
    remove,
    repeat,
    insert,
    splice,
)


def mend_checksums(data: bytearray) -> None:
    """Make a PNG's damage pass its checksums, so that it gets as far as the decoder."""
    place = 8
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        end = place + 8 + length
        if end + 4 > len(data):
            return
        struct.pack_into(">I", data, end, zlib.crc32(data[place + 4 : end]))
        place = end + 4
