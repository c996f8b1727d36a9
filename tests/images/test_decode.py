import io
import os
import struct
import subprocess
import sys
import time
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, features

from tests.images.encoded import difference, encode, huge_png, noise, picture
from twlcli.errors import ImageError
from twlcli.images import formats
from twlcli.images.decode import open_upright, read_upright
from twlcli.images.decoding import Decoding
from twlcli.images.quiet import pillow_silenced

# What a camera held in each EXIF orientation stores, as the inverse of what undoes it.
STORED = {
    1: lambda image: image,
    2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
    4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
}
needs_avif = pytest.mark.skipif(not features.check("avif"), reason="Pillow built without AVIF")
AVIF = pytest.param("AVIF", marks=needs_avif)


def reason(data: bytes, **options) -> str:
    with pytest.raises(ImageError) as caught:
        open_upright(data, **options)
    return str(caught.value)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF", AVIF])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_open_upright_turns_every_orientation(format_name, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if format_name not in ("PNG", "TIFF") else {}
    stored = STORED[orientation](picture())
    upright = open_upright(encode(stored, format_name, exif=exif, **options))
    assert upright.mode == "RGB"
    assert difference(upright, picture()) < 4


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", AVIF])
def test_open_upright_reads_every_format(format_name):
    assert difference(open_upright(encode(picture(), format_name)), picture()) < 8


@pytest.mark.parametrize("shorter_side", [None, 50])
def test_open_upright_reads_the_first_picture_of_an_mpo(shorter_side):
    data = encode(picture(640, 400), "MPO", save_all=True, append_images=[noise(640, 400)])
    upright = open_upright(data, shorter_side=shorter_side)
    assert upright.size == ((640, 400) if shorter_side is None else (160, 100))
    assert difference(upright, picture(640, 400).resize(upright.size)) < 4


def test_open_upright_reads_heic_with_the_extra():
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    assert difference(open_upright(encode(picture(), "HEIF", quality=95)), picture()) < 4


def test_open_upright_names_the_extra_for_heic(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    formats._register.cache_clear()
    data = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    assert reason(data) == "HEIC photograph needs the 'heic' extra: pip install 'twlcli[heic]'"


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("shorter_side", [10, 30, 60, 75, 76, 150])
def test_open_upright_decodes_jpeg_at_no_less_than_twice_the_target(orientation, shorter_side):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(noise(800, 601), "JPEG", exif=exif)
    got = min(open_upright(data, shorter_side=shorter_side).size)
    assert got >= min(601, 2 * shorter_side)
    assert got < 4 * shorter_side + 1 or got == 76  # no smaller scale would do, or there is none


def test_open_upright_decodes_others_at_full_size():
    assert open_upright(encode(noise(), "PNG"), shorter_side=8).size == (200, 150)


def test_open_upright_takes_the_first_frame():
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "blue")]
    for format_name in ("GIF", "PNG", "WEBP", "TIFF"):
        data = encode(frames[0], format_name, save_all=True, append_images=frames[1:])
        red, green, blue = np.asarray(open_upright(data))[10, 10].tolist()
        assert red > 240 and green < 15 and blue < 15, format_name


def test_open_upright_names_an_empty_file():
    assert reason(b"") == "the file is empty"


@pytest.mark.parametrize("data", [b"hello, world\n" * 50, b"\0" * 4096, b"x", b"<svg></svg>"])
def test_open_upright_names_what_is_not_an_image(data):
    assert (
        reason(data)
        == "not an image (expected JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF, JPEG 2000 or HEIC)"
    )


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", AVIF])
@pytest.mark.parametrize("shorter_side", [None, 16])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_open_upright_refuses_truncated_files(format_name, shorter_side, kept):
    data = encode(noise(), format_name)
    text = reason(data[: int(len(data) * kept)], shorter_side=shorter_side)
    assert "truncated" in text
    assert {"WEBP": "WebP"}.get(format_name, format_name) in text


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", AVIF])
def test_open_upright_survives_random_damage(format_name):
    generator = np.random.default_rng(1)
    whole = encode(picture(), format_name)
    failures = 0
    for round_ in range(60):
        data = bytearray(whole)
        end = len(data) if round_ % 2 else 40  # anywhere, or in the header
        for place in generator.integers(0, end, 6):
            data[place] = generator.integers(256)
        try:
            assert open_upright(bytes(data)).mode == "RGB"
        except ImageError as error:
            failures += 1
            assert str(error) and "\n" not in str(error) and "BytesIO" not in str(error)
    assert failures


def test_open_upright_refuses_a_huge_png_from_its_header():
    data = huge_png()
    tracemalloc.start()
    start = time.perf_counter()
    text = reason(data)
    seconds = time.perf_counter() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert text == "too large: 900.0 megapixels, the limit is 179.0"
    assert seconds < 1
    assert peak < 10e6


@pytest.mark.parametrize("progressive", [False, True])
def test_open_upright_counts_the_pixels_of_jpeg_that_it_decodes(progressive):
    data = encode(noise(1600, 1200), "JPEG", progressive=progressive)
    small = Decoding(max_pixels=1_000_000)
    assert reason(data, decoding=small) == "too large: 1.9 megapixels, the limit is 1.0"
    reduced = open_upright(data, shorter_side=200, decoding=small)
    assert reduced.size == (800, 600)
    assert reduced.tobytes() == open_upright(data, shorter_side=200).tobytes()
    assert reason(data, shorter_side=500, decoding=small).startswith("too large: 1.9 megapixels")
    smaller = Decoding(max_pixels=500_000)
    if progressive:  # held in full while it is decoded
        assert reason(data, shorter_side=200, decoding=smaller).startswith("too large")
    else:
        assert open_upright(data, shorter_side=200, decoding=smaller).size == (800, 600)
    least = Decoding(max_pixels=1600 * 1200 // 8 - 1)
    assert reason(data, shorter_side=10, decoding=least).startswith("too large: 1.9 megapixels")


def test_open_upright_reads_jpeg_of_more_pixels_than_pillow():
    data = encode(Image.new("L", (60_000, 3_000), 77), "JPEG")
    image = open_upright(data, shorter_side=100)
    assert image.size == (7500, 375)
    assert image.getpixel((0, 0)) == (77, 77, 77)
    assert reason(data) == "too large: 180.0 megapixels, the limit is 179.0"


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "BMP"])
def test_open_upright_takes_a_larger_limit_than_pillow(format_name):
    data = encode(Image.new("1", (20_000, 9_000)), format_name)
    assert reason(data) == "too large: 180.0 megapixels, the limit is 179.0"
    assert open_upright(data, decoding=Decoding(max_pixels=180_000_000)).size == (20_000, 9_000)


def test_open_upright_takes_a_smaller_limit():
    data = encode(noise(), "PNG")
    assert open_upright(data, decoding=Decoding(max_pixels=200 * 150)).size == (200, 150)
    assert reason(data, decoding=Decoding(max_pixels=29_999)).startswith("too large: ")


@pytest.mark.parametrize(("width", "height"), [(0, 40), (60, 0), (0, 0)])
def test_open_upright_refuses_an_image_without_pixels(width, height):
    data = bytearray(encode(picture(), "BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    assert reason(bytes(data)) == "damaged or truncated BMP"


def test_open_upright_keeps_a_picture_whose_metadata_is_damaged():
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x05" + b"\x01\x12\0\x03\xff\xff\xff\xff" * 3
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        upright = open_upright(encode(picture(), "JPEG", exif=exif, quality=95))
    assert difference(upright, picture()) < 4
    assert not caught


def test_open_upright_silences_pillow_without_touching_other_filters():
    def warn_elsewhere():
        warnings.warn("mine", UserWarning, stacklevel=1)

    data = encode(picture(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12")
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(open_upright, [data] * 100))
    assert list(warnings.filters) == before
    with pillow_silenced(), pytest.warns(UserWarning, match="mine"):
        warn_elsewhere()


def test_open_upright_prints_nothing(tmp_path):
    tiff, jpeg = encode(noise(), "TIFF"), encode(noise(), "JPEG")
    bands = bytearray(tiff)
    bands[bands.index(b"\x15\x01\x03\x00") + 8] = 99  # samples per pixel
    files = [tiff[:-50], bytes(bands), jpeg[:900] + jpeg[1000:], jpeg[:500], b"hello"]
    for index, data in enumerate(files):
        (tmp_path / f"{index}").write_bytes(data)
    code = (
        "import logging, sys\n"
        "logging.getLogger('PIL').addHandler(logging.NullHandler())\n"  # as the command line does
        "from twlcli.errors import ImageError\n"
        "from twlcli.images.decode import read_upright\n"
        "for path in sys.argv[1:]:\n"
        "    try: read_upright(path)\n"
        "    except ImageError: pass\n"
    )
    paths = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, check=True)
    assert done.stdout == b""
    assert done.stderr == b""


def test_read_upright_reads_a_file(tmp_path):
    path = tmp_path / "no-suffix"
    path.write_bytes(encode(picture(), "PNG"))
    assert difference(read_upright(path), picture()) == 0


def test_read_upright_gives_the_reason_alone(tmp_path):
    for path, expected in [(tmp_path / "gone.jpg", "no such file"), (tmp_path, "is a folder")]:
        with pytest.raises(ImageError) as caught:
            read_upright(path)
        assert str(caught.value) == expected


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_read_upright_names_a_missing_permission(tmp_path):
    path = tmp_path / "locked.png"
    path.write_bytes(encode(picture(), "PNG"))
    path.chmod(0)
    with pytest.raises(ImageError, match=r"cannot be read \(Permission denied\)"):
        read_upright(path)


def test_read_upright_names_an_error_of_the_disk(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(encode(picture(), "PNG"))

    class Broken(io.BytesIO):
        def read(self, *_):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr("pathlib.Path.open", lambda *_: Broken())
    with pytest.raises(ImageError, match=r"^cannot be read \(Input/output error\)$"):
        read_upright(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_read_upright_reads_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(pipe.write_bytes, encode(picture(), "PNG"))
        assert difference(read_upright(pipe), picture()) == 0
        writing.result()
