"""The images in a tar, such as a WebDataset shard, without unpacking it."""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from twlcli.images.discover.compact import CompactSet
from twlcli.images.discover.left_out import LeftOut, is_system_folder
from twlcli.images.image_file import (
    ByteRange,
    ImageFile,
    is_image,
    is_passed_over,
    suffix_of,
)
from twlcli.stores.faults import StoreError

if TYPE_CHECKING:
    from twlcli.stores.store import StoredObject

MAX_HEADER = 1 << 16  # bytes of all headers before one member; the longest path takes 4 KiB
_MAX_GLOBALS = 1000  # global header fields, which the tar's reader keeps
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


def members(
    path: Path,
    name: str,
    *,
    hidden: bool = False,
    left_out: LeftOut | None = None,
    stored: StoredObject | None = None,
) -> Iterator[ImageFile]:
    """The images in a plain tar, in its order; only the headers are read.

    Members are ordinary files with an image's suffix; links, folders and devices are passed over,
    and what lies in system folders.
    Their names, be they absolute or full of `..`, are never used as paths. A second member of the
    same name is a failure, under a name of its own. Memory grows by about 20 bytes per member.

    Args:
        path: the tar, absolute.
        name: what the tar is called in outputs; members are `name/member`.
        hidden: also take members whose name, or a folder of theirs, starts with a dot.
        left_out: counts the photographs that nothing installed can read.
        stored: the tar, where it is in a store; its headers are read by ranges.

    Yields:
        The images. Where the tar is damaged, cut off, not a plain tar or holds no images, the last
        one is the tar itself with its `failure`.
    """
    seen = CompactSet()
    try:
        with _opened(path) if stored is None else _opened_in_store(stored) as opened:
            tar = opened.tar
            for member in _headers(opened.file, opened.size):
                folders = member.name.split("/")[:-1]
                if any(map(is_system_folder, folders)) or (_is_hidden(member.name) and not hidden):
                    continue
                if is_image(member.name):
                    found = _found(path, name, member, seen, opened.mtime_ns)
                    yield found if tar is None else replace(found, stored=tar)
                elif left_out is not None and is_passed_over(member.name):
                    left_out.suffixes[suffix_of(member.name)] += 1
        if not seen:
            raise tarfile.ReadError("no images in this tar")
    except tarfile.ReadError as error:
        yield ImageFile(path, name, str(error))
    except FileNotFoundError:
        yield ImageFile(path, name, "no such file")
    except StoreError as error:
        if error.passing:  # whatever follows would be missing
            raise error.at(name) from error
        yield ImageFile(path, name, error.message)
    except OSError as error:
        yield ImageFile(path, name, f"cannot be read ({error.strerror or error})")


@dataclass(frozen=True)
class _Opened:
    """A tar that is open, its bytes, what tells its versions apart, and where it is in a store."""

    file: BinaryIO
    size: int
    mtime_ns: int
    tar: StoredObject | None = None


@contextmanager
def _opened(path: Path) -> Iterator[_Opened]:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise tarfile.ReadError(f"not a file ({stat.filemode(status.st_mode)})")
    with path.open("rb") as file:
        yield _Opened(file, status.st_size, status.st_mtime_ns)


@contextmanager
def _opened_in_store(stored: StoredObject) -> Iterator[_Opened]:
    from twlcli.stores.fetch import resolved
    from twlcli.stores.ranges import Ranges

    tar = resolved(stored)
    if tar.size is None:
        raise tarfile.ReadError("the store does not say how large it is; download it")
    file = cast(BinaryIO, Ranges(tar, tar.size))
    yield _Opened(file, tar.size, tar.version or 0, tar)


def _found(
    path: Path, tar: str, member: tarfile.TarInfo, seen: CompactSet, mtime_ns: int
) -> ImageFile:
    name = f"{tar}/{member.name.removeprefix('./')}"
    failure = None
    if "\0" in name:
        name = name.replace("\0", "\\0")
        failure = "a NUL character in the member's name"
    elif member.sparse is not None:
        failure = "a sparse member; unpack the tar to read it"
    if not seen.adds(name):
        name = f"{name} (again at byte {member.offset})"
        failure = "a second member of this name; the first one counts"
        seen.adds(name)
    return ImageFile(path, name, failure, ByteRange(member.offset_data, member.size, mtime_ns))


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))


def _headers(file: BinaryIO, size: int) -> Iterator[tarfile.TarInfo]:
    """The ordinary files in a tar of `size` bytes, each lying wholly inside it.

    Raises:
        ReadError: the tar does not go on, though it has no proper end here.
    """
    bounded = _Bounded(file)
    end = 0
    try:
        with tarfile.TarFile(
            fileobj=cast(IO[bytes], bounded), encoding="utf-8", errors="surrogateescape"
        ) as tar:
            while (member := tar.next()) is not None:
                if member.size < 0 or tar.offset <= end or len(tar.pax_headers) > _MAX_GLOBALS:
                    raise tarfile.ReadError(f"damaged at byte {member.offset:,}")
                end = tar.offset
                if member.isreg():
                    # A sparse member is longer than its bytes in the tar, which end at `end`.
                    last = end if member.sparse is not None else member.offset_data + member.size
                    if last > size:
                        raise tarfile.ReadError(f"cut off inside {member.name!a}")
                    yield member
                cast(Any, tar).members.clear()  # it would keep them all
                bounded.left = MAX_HEADER
            _check_end(file, tar.offset)
    except (OSError, GeneratorExit):
        raise
    except tarfile.ReadError as error:
        file.seek(0)
        start = file.read(8)
        kind = next((kind for magic, kind in _COMPRESSED.items() if start.startswith(magic)), None)
        if end == 0 and kind is not None:
            raise tarfile.ReadError(f"compressed ({kind}); expected a plain tar") from error
        raise tarfile.ReadError(f"not a tar ({error})" if end == 0 else str(error)) from error
    except Exception as error:  # on damaged headers the tar's reader raises nearly anything
        raise tarfile.ReadError(f"damaged after byte {end:,}") from error


def _check_end(file: BinaryIO, offset: int) -> None:
    """Raise where a tar whose next header could not be read does not properly end."""
    file.seek(offset)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("cut off: the blocks that end a tar are missing")
    if block.strip(b"\0"):
        raise tarfile.ReadError(f"damaged at byte {offset:,}")


class _Bounded:
    """A file for the tar's reader, which trusts the sizes in headers, however large or negative.

    Attributes:
        left: how many bytes may be read until it is set anew.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.left = MAX_HEADER
        self._file = file
        self.tell = file.tell
        self.seek = file.seek

    def read(self, size: int) -> bytes:
        """As a file does."""
        self.left -= size
        if size < 0 or self.left < 0:
            raise tarfile.ReadError(f"a header of more than {MAX_HEADER:,} bytes")
        return self._file.read(size)
