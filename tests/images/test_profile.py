import io
import random
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.images import icc
from tests.images.encoded import difference, encode, picture
from twlcli.images.decode import open_upright, upright
from twlcli.images.decoding import Caveat
from twlcli.images.preprocess import cropped
from twlcli.images.profile import MAX_PROFILE, conversion_of
from twlcli.model.preprocessing import Preprocessing

PROFILES = {
    "Adobe RGB": icc.of_primaries(icc.ADOBE, icc.gamma(2.19921875)),
    "Display P3": icc.of_primaries(icc.P3, icc.SRGB_FORMULA),
    "ProPhoto": icc.of_primaries(icc.PROPHOTO, icc.gamma(1.8)),
    "linear": icc.of_primaries(icc.SRGB, icc.gamma(1.0)),
    "swapped": icc.of_primaries((icc.SRGB[1], icc.SRGB[2], icc.SRGB[0]), icc.SRGB_TABLE),
    "gamma 2.2": icc.of_primaries(icc.SRGB, icc.gamma(2.2)),
}
EDITIONS_OF_SRGB = {
    "formula": icc.of_primaries(icc.SRGB, icc.SRGB_FORMULA),
    "formula with an offset": icc.of_primaries(
        icc.SRGB, icc.formula(4, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045, 0, 0)
    ),
    "table": icc.of_primaries(icc.SRGB, icc.SRGB_TABLE),
    "LittleCMS": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
}
DAMAGED = {
    "cut off": PROFILES["Adobe RGB"][:200],
    "no profile": b"x" * 3000,
    "none of its tags": icc.profile({}, space=b"RGB "),
    "for printing": icc.of_inks(lambda *inks: (50, 0, 0)),
    "for grey": icc.of_grey(icc.gamma(1.0)),
    "too large": PROFILES["Adobe RGB"] + bytes(MAX_PROFILE),
}


def in_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """An sRGB image in the numbers of a profile."""
    target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), target)
    assert converted is not None
    return converted


def color_at(image: Image.Image, place: tuple[int, int]) -> list[int]:
    red, green, blue = np.asarray(image)[place[1], place[0]].tolist()
    return [red, green, blue]


def muted() -> Image.Image:
    """A picture of colours that every profile here has."""
    return picture(120, 80).point(lambda level: 60 + level * 120 // 255)


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "WEBP", "JPEG", "AVIF"])
def test_colours_are_those_that_the_profile_means(name, format_name):
    profile = PROFILES[name]
    stored = in_profile(muted(), profile)
    options = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}}.get(format_name, {"quality": 98})
    data = encode(stored, format_name, icc_profile=profile, **options)
    # There are few levels in the dark where the tones are linear, and in the lossy ones noise.
    allowed = 3 if name == "linear" else 1.5 if format_name in ("JPEG", "AVIF") else 0.6
    assert difference(stored, muted()) > 0.7
    assert difference(open_upright(data), muted()) < allowed


@pytest.mark.parametrize("name", EDITIONS_OF_SRGB)
def test_srgb_is_left_alone(name):
    assert conversion_of(EDITIONS_OF_SRGB[name], "RGB") is None
    for format_name in ("JPEG", "PNG"):
        plain = encode(muted(), format_name)
        marked = encode(muted(), format_name, icc_profile=EDITIONS_OF_SRGB[name])
        assert len(marked) > len(plain)
        assert open_upright(marked).tobytes() == open_upright(plain).tobytes()


def test_srgb_is_recognised_without_littlecms(tmp_path):
    for name, profile in EDITIONS_OF_SRGB.items():
        (tmp_path / f"{name}.jpg").write_bytes(encode(muted(), "JPEG", icc_profile=profile))
    (tmp_path / "none.jpg").write_bytes(encode(muted(), "JPEG"))
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from twlcli.images.decode import read_upright\n"
        "for path in Path(sys.argv[1]).iterdir(): read_upright(path)\n"
        "print('PIL.ImageCms' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"False\n"


@pytest.mark.parametrize("name", ["Adobe RGB", "Display P3", "ProPhoto", "linear"])
def test_resizing_first_changes_little(name):
    profile = PROFILES[name]
    generator = np.random.default_rng(0)
    rough = Image.fromarray(generator.integers(60, 200, (75, 100, 3), np.uint8)).resize((400, 300))
    data = encode(in_profile(rough, profile), "PNG", icc_profile=profile)
    crop = partial(cropped, preprocessing=Preprocessing(resize=96, crop=96))
    difference_of_orders = difference(open_upright(data, resize=crop), crop(open_upright(data)))
    assert difference_of_orders < 0.8


def test_transparency_lies_on_white_in_profiles_too():
    image = in_profile(muted(), PROFILES["swapped"])
    image.putalpha(Image.linear_gradient("L").resize(image.size).point(lambda a: 255 * (a > 127)))
    result = open_upright(encode(image, "PNG", icc_profile=PROFILES["swapped"]))
    assert result.getpixel((5, 5)) == (255, 255, 255)
    assert difference(result.crop((0, 50, 120, 80)), muted().crop((0, 50, 120, 80))) < 1


def test_grey_in_a_profile_for_grey():
    ramp = Image.linear_gradient("L")
    linear = encode(ramp, "PNG", icc_profile=icc.of_grey(icc.gamma(1.0)))
    expected = np.round(255 * (1.055 * (np.arange(256) / 255) ** (1 / 2.4) - 0.055))
    got = np.asarray(open_upright(linear))[:, 9]
    assert (got == got[:, :1]).all()
    assert np.abs(got[2:, 0] - expected[2:]).max() <= 1
    usual = encode(ramp, "PNG", icc_profile=icc.of_grey(icc.SRGB_TABLE))
    assert difference(open_upright(usual), ramp.convert("RGB")) == 0
    deep = Image.fromarray(np.linspace(0, 65535, 256).round().astype(np.uint16)[:, None])
    deep_linear = encode(deep, "PNG", icc_profile=icc.of_grey(icc.gamma(1.0)))
    assert (np.asarray(open_upright(deep_linear))[:, 0] == got).all()


def test_grey_in_a_profile_for_colours():
    ramp = Image.linear_gradient("L")
    data = encode(ramp, "JPEG", icc_profile=PROFILES["linear"], quality=100)
    got = np.asarray(open_upright(data))[:, 9]
    assert np.ptp(got, axis=1).max() <= 1
    assert got[55, 0] == pytest.approx(255 * (1.055 * (55 / 255) ** (1 / 2.4) - 0.055), abs=2)


def printed(cyan: float, magenta: float, yellow: float, black: float) -> tuple[float, ...]:
    """A press whose cyan looks red: whoever ignores its profile gets cyan."""
    return (100 - 50 * cyan) * (1 - black), 60 * cyan * (1 - black), 40 * cyan * (1 - black)


@pytest.mark.parametrize("format_name", ["JPEG", "TIFF"])
def test_inks_are_those_of_the_profile(format_name):
    profile = icc.of_inks(printed)
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    red, green, blue = color_at(
        open_upright(encode(image, format_name, icc_profile=profile)), (8, 8)
    )
    assert red > 180 and green < 90 and blue < 90
    white = encode(Image.new("CMYK", (16, 16), 0), format_name, icc_profile=profile)
    assert min(color_at(open_upright(white), (8, 8))) > 250
    assert color_at(open_upright(encode(image, format_name)), (8, 8))[0] < 50


def test_lab_needs_no_profile():
    # L* 53.2, a* 80.1, b* 67.2 is sRGB's red; D50 by Lindbloom's calculator: 54.3, 80.8, 69.9.
    image = Image.new("LAB", (8, 8), (round(54.3 * 2.55), 80 + 128, 70 + 128))
    for options in ({}, {"icc_profile": b"damaged"}):  # type: dict[str, bytes]
        red, green, blue = color_at(open_upright(encode(image, "TIFF", **options)), (4, 4))
        assert red > 245 and green < 30 and blue < 30


@pytest.mark.parametrize("name", DAMAGED)
def test_what_cannot_be_used_is_ignored_and_said(name):
    caveats: list[Caveat] = []
    data = encode(muted(), "TIFF", icc_profile=DAMAGED[name])
    assert difference(open_upright(data, noted=caveats.append), muted()) == 0
    assert caveats == [Caveat.PROFILE_IGNORED]


def test_a_profile_with_a_part_missing_is_ignored_and_said():
    data = encode(muted(), "JPEG", icc_profile=PROFILES["swapped"] + bytes(70_000), quality=98)
    place = data.index(b"ICC_PROFILE\0\x02")
    caveats: list[Caveat] = []
    image = open_upright(data[:place] + b"X" + data[place + 1 :], noted=caveats.append)
    assert difference(image, muted()) < 2
    assert caveats == [Caveat.PROFILE_IGNORED]


def test_images_in_memory_are_converted_and_left_as_they_are():
    stored = in_profile(muted(), PROFILES["swapped"])
    stored.info["icc_profile"] = PROFILES["swapped"]
    before = stored.tobytes()
    assert difference(upright(stored), muted()) < 1
    assert stored.tobytes() == before


@pytest.mark.parametrize("name", ["Adobe RGB", "Display P3", "press"])
def test_damaged_profiles_do_no_damage(name):
    dice = random.Random(3)
    whole = icc.of_inks(printed) if name == "press" else PROFILES[name]
    mode = "CMYK" if name == "press" else "RGB"
    image = Image.new(mode, (8, 8), 99)
    used = 0
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(dice.choice((1, 3, 20))):
            data[dice.randrange(len(data))] = dice.choice((0, 1, 127, 128, 255))
        image.info["icc_profile"] = bytes(data[: dice.choice((len(data), len(data) // 2))])
        assert upright(image).mode == "RGB"
        used += upright(image).getpixel((0, 0)) != (99, 99, 99)
    assert used
