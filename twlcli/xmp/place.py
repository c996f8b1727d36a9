"""The places where a photograph's keywords stand: sidecars and the photograph itself."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from twlcli.errors import ImageError
from twlcli.xmp.embedded import read_embedded
from twlcli.xmp.keywords import DIGIKAM, LIGHTROOM, LISTS, SUBJECT, Keywords
from twlcli.xmp.packet import MAXIMUM_BYTES, NewProperty, Packet, without_padding
from twlcli.xmp.reader import Name

TWL = "http://twlcli/ns/1.0/"  # a name, not an address; XMP asks for the slash at the end

# What twl remembers: for each list the entries that twl itself added.
# Their names differ from those of the lists, as exiftool's `-Subject` would find either.
RECORDS = {
    SUBJECT: NewProperty(Name(TWL, "addedSubject"), "twl", "Bag"),
    LIGHTROOM: NewProperty(Name(TWL, "addedHierarchicalSubject"), "twl", "Bag"),
    DIGIKAM: NewProperty(Name(TWL, "addedTagsList"), "twl", "Bag"),
}
PEOPLE = Name("http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "PersonInImage")

_NAMES = [each.name for each in (*LISTS, *RECORDS.values())] + [PEOPLE]
# A packet in UTF-8 that holds none of these holds no keyword, and need not be parsed.
_LOCAL_NAMES = [each.name.local.encode() for each in LISTS] + [PEOPLE.local.encode()]
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Place:
    """What one place says.

    Attributes:
        lists: the entries of each list; words of IPTC and EXIF are among those of dc:subject.
        added: those of them that twl added, and remembers; some may be gone.
        people: who is in the photograph.
    """

    lists: Keywords
    added: Keywords
    people: Sequence[str] = ()

    @classmethod
    def empty(cls) -> Place:
        """A place that says nothing."""
        return cls(dict.fromkeys(LISTS, ()), dict.fromkeys(LISTS, ()))


def place_of(packets: Sequence[bytes], words: Sequence[str] = ()) -> Place:
    """What packets of XMP say together, and keywords that stand elsewhere.

    Raises:
        ImageError: a packet that may hold keywords is not XMP, or is too large.
    """
    lists: dict[NewProperty, list[str]] = {each: [] for each in LISTS}
    added: dict[NewProperty, list[str]] = {each: [] for each in LISTS}
    people: list[str] = []
    for content in packets:
        if not content.startswith(_UTF16) and not any(name in content for name in _LOCAL_NAMES):
            continue
        if len(content) > MAXIMUM_BYTES:
            raise ImageError(f"its XMP is larger than {MAXIMUM_BYTES >> 20} MiB")
        packet = Packet(without_padding(content), _NAMES)
        for each in LISTS:
            lists[each] += packet.values(each.name)
            added[each] += packet.values(RECORDS[each].name)
        people += packet.values(PEOPLE)
    lists[SUBJECT] += words
    return Place(lists, added, people)


def inside(path: Path) -> tuple[Place, list[str]]:
    """What stands inside a photograph, and why some of it could not be read."""
    embedded = read_embedded(path)
    faults = list(embedded.faults)
    try:
        return place_of(embedded.packets, embedded.words), faults
    except ImageError as error:
        return place_of((), embedded.words), [*faults, str(error)]


def sidecar(path: Path) -> Place:
    """What a sidecar says.

    Raises:
        ImageError: it is no file, cannot be read, or is not XMP.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would block
            raise ImageError(f"is not a file ({stat.filemode(status.st_mode)})")
        if status.st_size > MAXIMUM_BYTES:
            raise ImageError(f"is larger than {MAXIMUM_BYTES >> 20} MiB")
        return place_of([path.read_bytes()])
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror or error})") from error
