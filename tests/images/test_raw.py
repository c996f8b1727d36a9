import sys
from functools import partial

import pytest

from tests.images.dng import dng, sensor
from tests.images.encoded import difference, encode, noise, picture
from twlcli.errors import ImageError
from twlcli.images.decode import open_upright
from twlcli.images.decoding import Decoding
from twlcli.images.tiff import is_raw

with_small_preview = partial(dng, preview=encode(noise(60, 40), "JPEG"), preview_size=(60, 40))


def is_red(image) -> bool:
    red, green, blue = image.resize((1, 1)).getpixel((0, 0))
    return bool(red > 100 and green < red / 2 and blue < red / 2)


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_preview_of_the_camera_is_taken(orientation):
    pytest.importorskip("rawpy")
    preview = encode(picture(300, 200), "JPEG", quality=95)
    data = dng(sensor(), preview=preview, preview_size=(300, 200), orientation=orientation)
    upright = picture(300, 200) if orientation == 1 else picture(300, 200).rotate(-90, expand=True)
    assert difference(open_upright(data), upright) < 4
    reduced = open_upright(data, shorter_side=40)
    assert min(reduced.size) == 100
    assert difference(reduced, upright.resize(reduced.size)) < 4


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_sensor_is_developed_where_the_preview_is_too_small(orientation):
    pytest.importorskip("rawpy")
    for made in (dng, with_small_preview):
        image = open_upright(made(sensor(), orientation=orientation), shorter_side=100)
        assert image.size == ((192, 128) if orientation == 1 else (128, 192))
        assert is_red(image)
    assert open_upright(with_small_preview(sensor()), shorter_side=40).size == (60, 40)


def test_what_is_damaged_or_too_large_is_refused():
    pytest.importorskip("rawpy")
    data = with_small_preview(sensor())
    with pytest.raises(ImageError, match=r"damaged or unknown RAW photograph"):
        open_upright(data[:-60_000], shorter_side=100)
    with pytest.raises(ImageError, match=r"damaged or unknown RAW photograph"):
        open_upright(b"FUJIFILMCCD-RAW " + bytes(1000))
    with pytest.raises(ImageError, match=r"too large: 0\.1 megapixels without a preview"):
        open_upright(data, shorter_side=100, decoding=Decoding(max_pixels=20_000))


@pytest.mark.parametrize(
    "data",
    [
        with_small_preview(sensor()),
        dng(sensor()),
        b"II*\0\x10\0\0\0CR\2\0" + bytes(500),
        b"\0\0\0\x18ftypcrx " + bytes(500),
        b"FUJIFILMCCD-RAW " + bytes(500),
    ],
    ids=["DNG", "DNG without preview", "CR2", "CR3", "RAF"],
)
def test_the_extra_is_named(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(ImageError) as caught:
        open_upright(data)
    expected = "RAW photograph needs the 'raw' extra: pip install 'twlcli[raw]'"
    assert str(caught.value) == expected


def test_a_tiff_of_a_scanner_is_no_raw_file():
    assert not is_raw({271: "Maker", 262: 2, 254: 0})
    assert not is_raw({330: (8,), 262: 2, 254: 0})  # a pyramid
    assert is_raw({271: "NIKON", 262: 2, 254: 1, 330: (8, 9)})  # NEF, ARW
    assert is_raw({262: 32803})
