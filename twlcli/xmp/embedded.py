"""The keywords inside a photograph, in XMP, IPTC and EXIF, without decoding it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from twlcli.errors import ImageError
from twlcli.xmp.blocks import Block, blocks
from twlcli.xmp.iptc import iptc_keywords, iptc_of_photoshop
from twlcli.xmp.keywords import LISTS, SUBJECT, unique
from twlcli.xmp.packet import MAXIMUM_BYTES, NewProperty, Packet, without_padding


@dataclass(frozen=True)
class Embedded:
    """What a photograph holds.

    Attributes:
        packets: of XMP, as they are.
        words: the keywords of IPTC, then those of Windows; neither has levels.
        faults: why something of it could not be read, one reason each.
    """

    packets: tuple[bytes, ...] = ()
    words: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def read_embedded(path: Path) -> Embedded:
    """The packets and words inside a photograph; what cannot be read is among the faults."""
    packets: list[bytes] = []
    words: list[str] = []
    windows: list[str] = []
    faults: list[str] = []
    total = 0
    try:
        if not path.is_file():  # a pipe would block
            return Embedded(faults=("is not a file",))
        with path.open("rb") as file:
            for block in blocks(file):
                total += len(block.content)
                if total > 2 * MAXIMUM_BYTES:
                    faults.append(f"holds more than {MAXIMUM_BYTES >> 19} MiB of metadata")
                    break
                try:
                    if block.kind == "xmp":
                        packets.append(block.content)
                    elif block.kind == "windows":
                        windows += _of_windows(block.content)
                    else:
                        words += _of_iptc(block)
                except ImageError as error:
                    faults.append(str(error))
    except (OSError, ValueError) as error:  # of what has no length, mmap says ValueError
        faults.append(f"cannot be read ({getattr(error, 'strerror', None) or error})")
    return Embedded(tuple(packets), (*words, *windows), tuple(faults))


def embedded_keywords(path: Path) -> dict[NewProperty, list[str]]:
    """The keywords of the three lists, with those of IPTC and EXIF among the words of dc:subject.

    What cannot be read has none.
    """
    found: dict[NewProperty, list[str]] = {each: [] for each in LISTS}
    embedded = read_embedded(path)
    if embedded.packets and len(embedded.packets[0]) <= MAXIMUM_BYTES:
        with suppress(ImageError):  # others cannot read it either
            packet = without_padding(embedded.packets[0])
            lists = Packet(packet, [each.name for each in LISTS])
            found = {each: lists.values(each.name) for each in LISTS}
    found[SUBJECT] = unique([*found[SUBJECT], *embedded.words])
    return found


def _of_iptc(block: Block) -> list[str]:
    is_alone = block.kind == "iptc"
    return iptc_keywords(block.content if is_alone else iptc_of_photoshop(block.content))


def _of_windows(content: bytes) -> list[str]:
    """XPKeywords: UTF-16, separated by semicolons."""
    return content.decode("utf-16-le", "replace").strip("\0").split(";")
