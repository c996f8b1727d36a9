"""What tells whether an image file is still the same as before."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twlcli.errors import ImageError
from twlcli.images.image_file import MAX_BYTES, ImageFile, read_range

if TYPE_CHECKING:
    from twlcli.stores.store import StoredObject


@dataclass(frozen=True, slots=True)
class Identity:
    """One image file as it is now.

    Attributes:
        size: bytes.
        mtime_ns: time of the last change, nanoseconds; that of the tar for its member; in a store
            what tells versions of the object apart.
        offset: where a member's bytes begin in its tar; 0 for a file.
        sha256: of the content, where it was asked for.
    """

    size: int
    mtime_ns: int
    offset: int = 0
    sha256: bytes | None = None

    def same(self, stored: Identity) -> bool:
        """Whether this is the content that `stored` was: by the hash, without one by the time."""
        if self.sha256 is not None:
            return (self.size, self.sha256) == (stored.size, stored.sha256)
        now = (self.size, self.mtime_ns, self.offset)
        return now == (stored.size, stored.mtime_ns, stored.offset)


def identify(file: ImageFile, *, content: bool = False) -> Identity | None:
    """The identity of a file, with its content's hash if asked for; None if it cannot be told.

    In a store the ETag stands for the content, which is not read.
    """
    if file.failure is not None:
        return None
    if file.stored is not None:
        return _of_stored(file, file.stored)
    try:
        sha256 = _sha256(file) if content else None
        if file.byte_range is not None:
            return Identity(
                file.byte_range.size, file.byte_range.mtime_ns, file.byte_range.offset, sha256
            )
        status = file.path.stat()
        return Identity(status.st_size, status.st_mtime_ns, sha256=sha256)
    except (OSError, ImageError):  # decoding will say why
        return None


def _of_stored(file: ImageFile, found: StoredObject) -> Identity | None:
    if found.version is None:
        return None
    if file.byte_range is not None:
        return Identity(file.byte_range.size, found.version, file.byte_range.offset)
    return Identity(-1 if found.size is None else found.size, found.version)


def _sha256(file: ImageFile) -> bytes:
    if file.byte_range is not None:
        source: io.BufferedIOBase = io.BytesIO(read_range(file.path, file.byte_range))
    else:
        source = file.path.open("rb")
        if (size := os.fstat(source.fileno()).st_size) > MAX_BYTES:
            source.close()
            raise ImageError(f"too large: {size:,} bytes, the limit is {MAX_BYTES:,}")
    with source:
        return hashlib.file_digest(source, "sha256").digest()
