"""The keywords inside photographs."""

import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.images.encoded import encode, picture, png_chunk
from tests.tagging.outputs.test_xmp import (
    DIGIKAM_LIST,
    LR,
    SUBJECT,
    described,
    needs_exiftool,
)
from tests.xmp.photographs import iptc, jpeg_iptc
from twlcli.xmp.embedded import embedded_keywords, read_embedded

PACKET = described("Alice,beach", lr="People|Alice")
FOUND = [["Alice", "beach"], ["People|Alice"], []]
XP = 0x9C9E


def found_in(path: Path) -> list[list[str]]:
    return list(embedded_keywords(path).values())


def xp(*words: str) -> Image.Exif:
    exif = Image.Exif()
    exif[XP] = ";".join(words).encode("utf-16-le") + b"\0\0"
    return exif


@pytest.mark.parametrize(
    ("suffix", "data"),
    [
        ("jpg", encode(picture(), "JPEG", xmp=PACKET)),
        ("tif", encode(picture(), "TIFF", tiffinfo={700: PACKET})),
        ("webp", encode(picture(), "WEBP", xmp=PACKET)),
        ("heic", b"\0\0\0\x20ftypheic" + bytes(100) + PACKET + bytes(100)),
    ],
)
def test_xmp_is_found_in_every_format(tmp_path, suffix, data):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(data)
    assert found_in(path) == FOUND


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("before_pixels", [False, True])
def test_xmp_is_found_in_a_png_before_and_behind_the_pixels(tmp_path, packed, before_pixels):
    text = zlib.compress(PACKET) if packed else PACKET
    body = b"XML:com.adobe.xmp\0" + bytes([packed, 0]) + b"\0\0" + text
    data = encode(picture(), "PNG")
    place = 33 if before_pixels else data.rindex(b"IEND") - 4
    (tmp_path / "a.png").write_bytes(data[:place] + png_chunk(b"iTXt", body) + data[place:])
    assert found_in(tmp_path / "a.png") == FOUND


def test_keywords_of_iptc_and_of_windows_are_found_each_once(tmp_path):
    data = encode(picture(), "JPEG", xmp=PACKET, exif=xp("Alice", "sea", "Été"))
    segment = jpeg_iptc(iptc(b"beach", "été".encode(), b"caf\xe9"))
    (tmp_path / "a.jpg").write_bytes(data[:2] + segment + data[2:])
    assert found_in(tmp_path / "a.jpg") == [
        ["Alice", "beach", "été", "café", "sea"],
        ["People|Alice"],
        [],
    ]
    plain = encode(picture(), "JPEG")
    (tmp_path / "b.jpg").write_bytes(plain[:2] + jpeg_iptc(iptc(b"one")) + plain[2:])
    assert found_in(tmp_path / "b.jpg") == [["one"], [], []]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8\xff",
        encode(picture(), "JPEG")[:100],
        encode(picture(), "JPEG", xmp=PACKET[:200]),
        encode(picture(), "JPEG", xmp=b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + PACKET),
        b"RIFF\0\0\0\0WEBP<x:xmpmeta ",
    ],
)
def test_what_cannot_be_read_has_no_keywords(tmp_path, data):
    (tmp_path / "a.jpg").write_bytes(data)
    assert found_in(tmp_path / "a.jpg") == [[], [], []]
    assert found_in(tmp_path / "gone.jpg") == [[], [], []]


def test_a_packed_text_does_not_swell(tmp_path):
    bomb = zlib.compress(bytes(64 << 20), 9)
    chunk = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb)
    data = encode(picture(), "PNG")
    (tmp_path / "a.png").write_bytes(data[:-12] + chunk + data[-12:])
    assert found_in(tmp_path / "a.png") == [[], [], []]


def test_packed_texts_swell_to_no_more_than_a_bound(tmp_path):
    bomb = zlib.compress(bytes(15 << 20), 9)
    chunk = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb)
    data = encode(picture(), "PNG")
    (tmp_path / "a.png").write_bytes(data[:-12] + chunk * 1000 + data[-12:])
    embedded = read_embedded(tmp_path / "a.png")
    assert len(embedded.packets) == 2
    assert embedded.faults == ("holds more than 32 MiB of metadata",)


WHOLE = [
    encode(picture(), "JPEG", xmp=PACKET, exif=xp("sea"))[:1200],
    encode(picture(), "TIFF", tiffinfo={700: PACKET})[-1500:],
]


@settings(deadline=None, max_examples=100)
@given(data=st.sampled_from(WHOLE), place=st.integers(0, 1199), value=st.binary(max_size=4))
def test_damaged_photographs_are_read_without_an_error(tmp_path_factory, data, place, value):
    path = tmp_path_factory.mktemp("damaged") / "a.jpg"
    path.write_bytes(data[:place] + value + data[place + len(value) :])
    assert len(found_in(path)) == 3


@needs_exiftool
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_what_exiftool_writes_is_found(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    picture().save(path)
    words = ["-XMP-dc:Subject=Alice", "-XMP-dc:Subject=é", "-XMP-digiKam:TagsList=People/Alice"]
    subprocess.run(["exiftool", "-q", *words, "-EXIF:XPKeywords=xp", str(path)], check=True)
    found = dict(zip((SUBJECT, LR, DIGIKAM_LIST), found_in(path), strict=True))
    assert found[DIGIKAM_LIST] == ["People/Alice"]
    assert found[SUBJECT] == ["Alice", "é", "xp"]
