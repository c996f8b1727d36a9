import io
import struct
from pathlib import Path

import pytest

from tests.images.encoded import encode, picture
from tests.xmp.photographs import (
    PACKET,
    iptc,
    jpeg,
    jpeg_iptc,
    jpeg_xmp,
    resources,
    segment,
    tiff,
    with_packet,
)
from twlcli.xmp.blocks import Block, blocks
from twlcli.xmp.packet import MAXIMUM_BYTES


def blocks_of(path: Path, content: bytes) -> list[Block]:
    path.write_bytes(content)
    with path.open("rb") as file:
        return list(blocks(file))


@pytest.mark.parametrize("suffix", with_packet(b""))
def test_a_packet_is_found_in_every_kind_of_photograph(tmp_path, suffix):
    assert blocks_of(tmp_path / "a", with_packet(PACKET)[suffix]) == [
        Block("xmp", packet_in(suffix))
    ]


def packet_in(suffix: str) -> bytes:
    """The packet; of what is searched for, without what stands around it."""
    start, end = PACKET.index(b"<x:xmpmeta"), PACKET.rindex(b">") + 1
    return PACKET[start:end] if suffix == "heic" else PACKET


def test_a_jpeg_holds_several_blocks(tmp_path):
    content = jpeg(
        segment(0xE1, b"Exif\0\0" + tiff([(0x9C9E, 1, b"a\0;\0b\0\0\0")], order=">")),
        b"\xff\xff" + jpeg_xmp(PACKET),
        jpeg_iptc(iptc(b"dog")),
    )
    kinds = {each.kind: each.content for each in blocks_of(tmp_path / "a", content)}
    assert kinds == {
        "windows": b"a\0;\0b\0\0\0",
        "xmp": PACKET,
        "photoshop": resources(iptc(b"dog")),
    }


def test_resources_in_several_segments_are_joined(tmp_path):
    whole = resources(iptc(b"dog"))
    parts = [segment(0xED, b"Photoshop 3.0\0" + each) for each in (whole[:20], whole[20:])]
    assert blocks_of(tmp_path / "a", jpeg(*parts)) == [Block("photoshop", whole)]


def test_only_what_leads_to_the_blocks_is_read(tmp_path):
    class Counting(io.FileIO):
        count = 0

        def read(self, size=-1):
            content = super().read(size)
            Counting.count += len(content)
            return content

    large = encode(picture(2000, 2000), "JPEG", quality=100)
    thumbnail = segment(0xE2, bytes(60_000))
    path = tmp_path / "a.jpg"
    path.write_bytes(large[:2] + thumbnail * 20 + jpeg_xmp(PACKET) + large[2:] + bytes(5_000_000))
    with Counting(path) as file:
        assert [each.content for each in blocks(file)] == [PACKET]
    assert Counting.count < len(PACKET) + 500


@pytest.mark.parametrize("place", [8, 0, 1 << 31])
def test_a_tiff_that_leads_in_circles_or_nowhere_ends(tmp_path, place):
    head = b"II*\0" + struct.pack("<I", place)
    entry = struct.pack("<HHII", 700, 1, 1 << 31, 0) + struct.pack("<HHII", 700, 9, 9, 4)
    assert blocks_of(tmp_path / "a", head + b"\2\0" + entry + bytes(4)) == []


def test_a_file_of_empty_chunks_ends(tmp_path):
    chunk = struct.pack(">I4s", 0, b"tEXt") + bytes(4)
    assert blocks_of(tmp_path / "a", b"\x89PNG\r\n\x1a\n" + chunk * 150_000) == []


def test_a_tag_is_read_once_however_often_it_is_named(tmp_path):
    content = tiff([(700, 1, PACKET)] * 1000)
    assert blocks_of(tmp_path / "a", content) == [Block("xmp", PACKET)]


def test_resources_are_joined_up_to_a_size(tmp_path):
    part = segment(0xED, b"Photoshop 3.0\0" + bytes(65_000))
    (block,) = blocks_of(tmp_path / "a", b"\xff\xd8" + part * 400)
    assert len(block.content) <= MAXIMUM_BYTES
