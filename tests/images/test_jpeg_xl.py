import struct
import sys

import pytest

from tests.images.encoded import difference, encode, picture
from twlcli.errors import ImageError
from twlcli.images import formats
from twlcli.images.decode import open_upright
from twlcli.images.decoding import Decoding
from twlcli.images.jpeg_xl import size_of


def encoded(width: int, height: int, **options) -> bytes:
    pytest.importorskip("pillow_jxl")
    return encode(picture(width, height), "JXL", lossless=True, **options)


def test_jpeg_xl_is_read_with_the_extra():
    assert difference(open_upright(encoded(60, 40)), picture()) == 0
    assert difference(open_upright(encoded(60, 40, use_container=True)), picture()) == 0


@pytest.mark.parametrize(
    "size", [(60, 40), (8, 8), (256, 256), (300, 200), (1001, 7), (160, 90), (600, 300), (3, 9000)]
)
@pytest.mark.parametrize("use_container", [False, True])
def test_the_size_stands_in_the_header(size, use_container):
    assert size_of(encoded(*size, use_container=use_container)) == size


def test_the_size_of_a_part_in_a_box():
    image = b"\xff\x0a\x09\x41" + bytes(20)  # 60 x 40
    sign = b"\0\0\0\x0cJXL \r\n\x87\n"
    part = struct.pack(">I4sI", 12 + len(image), b"jxlp", 0) + image
    large = struct.pack(">I4sQ", 1, b"free", 20) + bytes(4)
    assert size_of(image) == size_of(sign + part) == size_of(sign + large + part) == (60, 40)
    for damaged in (b"", b"\xff", sign, sign + bytes(40), sign + part[:8]):
        assert size_of(damaged) is None


def test_what_is_too_large_or_damaged_is_refused():
    with pytest.raises(ImageError, match=r"too large: 0\.0 megapixels"):
        open_upright(encoded(60, 40), decoding=Decoding(max_pixels=2399))
    with pytest.raises(ImageError, match="damaged or truncated JPEG XL"):
        open_upright(encoded(200, 150)[:100])


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    formats._register.cache_clear()
    for start in (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"):
        with pytest.raises(ImageError) as caught:
            open_upright(start + bytes(100))
        assert (
            str(caught.value)
            == "JPEG XL photograph needs the 'jxl' extra: pip install 'twlcli[jxl]'"
        )
