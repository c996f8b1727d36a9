import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, features

from tests.images import icc
from tests.images.encoded import difference, encode, noise, picture, png_chunk
from twlcli.errors import ImageError
from twlcli.images.decode import open_upright
from twlcli.images.decoding import Caveat, Decoding
from twlcli.images.profile import MAX_PROFILE

ACCEPT = Decoding(accept_damaged=True)
SWAPPED = icc.of_primaries((icc.SRGB[1], icc.SRGB[2], icc.SRGB[0]), icc.SRGB_TABLE)


def reason(data: bytes, **options) -> str:
    with pytest.raises(ImageError) as caught:
        open_upright(data, **options)
    return str(caught.value)


def accepted(data: bytes, **options) -> Image.Image:
    """What is read of a damaged file."""
    caveats: list[Caveat] = []
    image = open_upright(data, decoding=ACCEPT, noted=caveats.append, **options)
    assert caveats == [Caveat.DAMAGED]
    return image


def with_texts() -> PngImagePlugin.PngInfo:
    """More text than Pillow reads, as programs that generate images write it."""
    texts = PngImagePlugin.PngInfo()
    texts.add_text("workflow", "node," * 300_000, zip=True)
    texts.add_itxt("prompt", "é" * 700_000, zip=True)
    texts.add_text("plain", "x" * 1_500_000)
    texts.add_text("short", "kept", zip=True)
    return texts


def test_png_with_much_text_is_read():
    exif = Image.Exif()
    exif[0x0112] = 6
    caveats: list[Caveat] = []
    data = encode(noise(), "PNG", pnginfo=with_texts(), exif=exif)
    assert (
        difference(open_upright(data, noted=caveats.append), noise().rotate(-90, expand=True)) == 0
    )
    assert not caveats


def test_png_with_much_text_behind_the_pixels_is_read():
    data = encode(noise(), "PNG")
    text = png_chunk(b"zTXt", b"workflow\0\0" + zlib.compress(bytes(3_000_000)))
    assert difference(open_upright(data[:-12] + text + data[-12:]), noise()) == 0


def test_png_with_many_texts_is_read():
    texts = b"".join(
        png_chunk(b"zTXt", b"%d\0\0" % number + zlib.compress(bytes(1_000_000)))
        for number in range(80)
    )
    data = encode(noise(), "PNG")
    assert difference(open_upright(data[:33] + texts + data[33:]), noise()) == 0


def test_png_with_a_large_profile_is_read():
    large = SWAPPED + bytes(1_500_000)
    from_jpeg_2000 = open_upright(encode(picture(), "TIFF", icc_profile=large))
    caveats: list[Caveat] = []
    image = open_upright(encode(picture(), "PNG", icc_profile=large), noted=caveats.append)
    assert difference(image, from_jpeg_2000) == 0 < difference(image, picture())
    assert not caveats


def test_png_with_a_profile_that_never_ends_is_read_without():
    caveats: list[Caveat] = []
    data = encode(picture(), "PNG", icc_profile=SWAPPED + bytes(MAX_PROFILE))
    assert difference(open_upright(data, noted=caveats.append), picture()) == 0
    assert caveats == [Caveat.PROFILE_IGNORED]


def with_wrong_checksum(data: bytes, chunk: bytes) -> bytes:
    place = data.index(chunk)
    end = place + 4 + struct.unpack(">I", data[place - 4 : place])[0]
    return data[:end] + bytes([data[end] ^ 1]) + data[end + 1 :]


@pytest.mark.parametrize("chunk", ["IHDR", "tEXt", "PLTE"])
def test_a_wrong_checksum_of_png_is_named(chunk):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("comment", "x")
    original = picture().quantize(64) if chunk == "PLTE" else picture()
    data = with_wrong_checksum(encode(original, "PNG", pnginfo=texts), chunk.encode())
    assert reason(data) == f"damaged PNG: the checksum of its {chunk} chunk is wrong"
    assert difference(accepted(data), original.convert("RGB")) == 0


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("shorter_side", [None, 16])
def test_jpeg_without_its_end_marker_is_named(options, shorter_side):
    data = encode(noise(), "JPEG", **options)
    expected = open_upright(data, shorter_side=shorter_side)
    cut = data[:-2]
    assert reason(cut) == "JPEG without its end marker; its pixels are all there"
    assert difference(accepted(cut, shorter_side=shorter_side), expected) == 0


@pytest.mark.parametrize("bytes_missing", [10, 100, 5000])
def test_jpeg_without_some_of_its_pixels_is_truncated(bytes_missing):
    data = encode(noise(), "JPEG", quality=90)
    cut = data[: -2 - bytes_missing]
    assert reason(cut) == "truncated JPEG"
    top = (0, 0, 200, int(150 * (1 - bytes_missing / len(data))) - 32)
    assert difference(accepted(cut).crop(top), open_upright(data).crop(top)) == 0


@pytest.mark.parametrize("format_name", ["PNG", "BMP", "TIFF", "GIF"])
def test_what_is_there_of_a_truncated_file_is_read(format_name):
    original = noise().quantize(200) if format_name == "GIF" else noise()
    options = {"interlace": 0} if format_name == "GIF" else {}
    data = encode(original, format_name, **options)
    cut = data[: len(data) * 2 // 3]
    assert "truncated" in reason(cut)
    image = accepted(cut)
    assert image.size == (200, 150)
    rows = np.abs(np.asarray(image).astype(int) - np.asarray(open_upright(data))).max(axis=(1, 2))
    same = rows == 0
    assert same.sum() > 80 and not same.all()
    assert same[:80].all() or same[-80:].all()  # BMP is stored upside down


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("length", [20, 40])
def test_where_nothing_is_there_the_reason_stays(format_name, length):
    data = encode(noise(), format_name)[:length]
    assert reason(data, decoding=ACCEPT) == reason(data)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF"])
def test_accepting_damage_changes_no_sound_file(format_name):
    data = encode(noise(), format_name)
    caveats: list[Caveat] = []
    image = open_upright(data, decoding=ACCEPT, noted=caveats.append)
    assert image.tobytes() == open_upright(data).tobytes() and not caveats


def tiff(bits: int, channels: int, sample_format: int, pixels: bytes) -> bytes:
    """An uncompressed TIFF of 4 x 4 pixels."""
    shorts = [
        *[(256, 4), (257, 4), (258, bits), (259, 1), (262, 2 if channels == 3 else 1)],
        *[(273, 8), (277, channels), (278, 4), (279, len(pixels)), (339, sample_format)],
    ]
    entries, rest = b"", b""
    start = 8 + len(pixels)
    behind = start + 6 + 12 * len(shorts)
    for number, value in shorts:
        count = channels if number in (258, 339) else 1
        if count == 3:
            entries += struct.pack("<HHII", number, 3, 3, behind + len(rest))
            rest += struct.pack("<3H", *[value] * 3)
        else:
            entries += struct.pack("<HHIHH", number, 3, count, value, value)
    head = b"II*\0" + struct.pack("<I", start) + pixels
    return head + struct.pack("<H", len(shorts)) + entries + bytes(4) + rest


@pytest.mark.parametrize(
    ("bits", "channels", "sample_format", "expected"),
    [
        (32, 3, 3, "TIFF of 32-bit floats in 3 channels"),
        (16, 3, 3, "TIFF of 16-bit floats in 3 channels"),
        (16, 1, 3, "TIFF of 16-bit floats"),
        (64, 1, 3, "TIFF of 64-bit floats"),
        (32, 3, 1, "TIFF of 32-bit unsigned integers in 3 channels"),
        (16, 2, 1, "TIFF of 16-bit unsigned integers in 2 channels"),
    ],
)
def test_numbers_that_pillow_does_not_read_are_named(bits, channels, sample_format, expected):
    data = tiff(bits, channels, sample_format, bytes(16 * channels * bits // 8))
    assert reason(data) == f"not supported: {expected}"
    assert reason(data, decoding=ACCEPT) == f"not supported: {expected}"


def test_damage_to_numbers_that_pillow_reads_is_damage():
    for bits, channels in ((16, 1), (8, 3)):
        data = tiff(bits, channels, 1, bytes(16 * channels * bits // 8))
        whole = struct.pack("<HHIH", 262, 3, 1, 2 if channels == 3 else 1)
        data = data.replace(whole, whole[:-2] + b"\x63\0")
        assert reason(data) == "damaged or truncated TIFF"


def test_photoshop_documents_are_named():
    assert reason(b"8BPS\0\1" + bytes(100)) == "not supported: Photoshop document"


@pytest.mark.skipif(not features.check("jpg_2000"), reason="Pillow built without JPEG 2000")
def test_jpeg_2000_is_read():
    for options in ({}, {"no_jp2": True}):
        assert difference(open_upright(encode(picture(), "JPEG2000", **options)), picture()) < 1
