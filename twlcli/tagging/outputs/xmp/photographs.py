"""The XMP inside photographs, read and replaced through ExifTool, and checked."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from twlcli.errors import ImageError
from twlcli.images.decode import read_upright
from twlcli.images.decoding import Decoding
from twlcli.images.image_file import suffix_of
from twlcli.images.kinds import RAW
from twlcli.tagging.outputs.exiftool import ExifTool
from twlcli.tagging.outputs.sidecar import failures_of
from twlcli.tagging.outputs.xmp.merging import EMPTY, OWN
from twlcli.xmp.keywords import LISTS
from twlcli.xmp.packet import MAXIMUM_BYTES, Packet

# ExifTool takes a packet only with its wrapper.
NEW_PACKET = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    + EMPTY.partition(b"\n")[2]
    + b'<?xpacket end="w"?>'
)
_EXTENDED = b"HasExtendedXMP"  # of JPEG: a part of it stands elsewhere, and would be lost
_EXACT = Decoding(exact=True)
_NAMES = [each.name for each in (*LISTS, *OWN)]


def check_photograph(path: Path) -> None:
    """Raise ImageError where a file is not one that twl writes into."""
    if suffix_of(path.name) in RAW.suffixes:
        raise ImageError("is a camera raw file, into which twl does not write; it has sidecars")
    with failures_of(path, "read"):
        mode = path.lstat().st_mode
    if not stat.S_ISREG(mode):
        raise ImageError(f"is not a regular file ({stat.filemode(mode)}), and is not written into")


def packet_of(exiftool: ExifTool, path: Path) -> bytes:
    """The XMP packet of a photograph, as its bytes stand there; empty where it has none.

    Raises:
        ImageError: ExifTool failed, or the packet is too large, or stands in several parts.
    """
    packet = exiftool("-b", "-XMP", path)
    if len(packet) > MAXIMUM_BYTES or _EXTENDED in packet:
        raise ImageError("its XMP is left alone: it is too large, or in several parts")
    return packet


def replace_packet(
    exiftool: ExifTool, path: Path, packet: bytes | None, *, keep_original: bool
) -> None:
    """Put another XMP packet into a photograph, or take it out.

    ExifTool works on a copy. It takes the photograph's place when it has the same pixels and holds
    the packet; before that the photograph is not touched.

    Args:
        exiftool: the process.
        path: the photograph.
        packet: the bytes of the packet; None for none.
        keep_original: keep the photograph as it was as `a.jpg_original`, as ExifTool does it: one
            that is there already stays.

    Raises:
        ImageError: the photograph cannot be written or decoded, or the copy failed a check.
        TwlError: the disk is full.
    """
    before = _pixels(path)
    with _folder_beside(path) as folder:
        copy = folder / path.name
        with failures_of(path, "written"):
            shutil.copy2(path, copy)
        if packet is None:
            exiftool("-overwrite_original", "-XMP=", copy)
        else:
            source = exiftool.folder / "packet.xmp"
            source.write_bytes(packet)
            exiftool("-overwrite_original", f"-XMP<={source}", copy)
        said = exiftool.complaint()
        if not _same(packet, exiftool("-b", "-XMP", copy)):
            raise ImageError(f"ExifTool did not write into it ({said or 'without a reason'})")
        if _pixels(copy) != before:
            raise ImageError("its pixels changed on the way; the photograph is left as it was")
        with failures_of(path, "written"):
            os.utime(copy)
            with copy.open("rb+") as file:
                os.fsync(file.fileno())
            if keep_original:
                _keep(path)
            copy.replace(path)


def _pixels(path: Path) -> bytes:
    image = read_upright(path, decoding=_EXACT)
    return hashlib.sha256(f"{image.mode} {image.size} ".encode() + image.tobytes()).digest()


def _same(packet: bytes | None, found: bytes) -> bool:
    """Whether a packet that was read back says of keywords what was written."""
    if packet is None or not found:
        return packet is None and not found
    written, read = Packet(packet, _NAMES), Packet(found, _NAMES)
    return all(written.values(name) == read.values(name) for name in _NAMES)


def _keep(path: Path) -> None:
    original = path.with_name(path.name + "_original")
    with suppress(FileExistsError):
        try:
            os.link(path, original)  # there is a photograph of that name at every moment
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            with original.open("xb") as copy, path.open("rb") as photograph:
                shutil.copyfileobj(photograph, copy)
            shutil.copystat(path, original)


@contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """A hidden folder on the same disk; what a killed run left in one of that name is removed."""
    digest = hashlib.blake2b(os.fsencode(path.name), digest_size=8).hexdigest()
    folder = path.with_name(f".twl-{digest}.tmp")
    try:
        with failures_of(path, "written"):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
