"""The bytes of an object or of a part of one, checked."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path

from twlcli.io import write_errors
from twlcli.stores.faults import StoreError, tried
from twlcli.stores.store import StoredObject

_AT_ONCE = 16 << 20  # bytes of one request


@dataclass(frozen=True)
class Part:
    """The bytes of an object that are wanted, where that is not all of them."""

    offset: int
    size: int


def fetch(
    found: StoredObject,
    target: Path,
    *,
    part: Part | None = None,
    most: int | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Copy an object, or a part of one, into a new file.

    Its length is compared with what the store has said, and its content with its MD5 where that is
    known. The ETag of an object that a key encrypts looks like an MD5 and is none, so content that
    comes twice the same is taken.

    Args:
        found: the object.
        target: the file.
        part: what is wanted of it; None for all.
        most: bytes; a larger object is refused, before it is fetched where its size is known.
        stop: ends the transfer.

    Raises:
        StoreError: it cannot be had, or is too large.
        StoppedError: `stop` was set.
        TwlError: the file cannot be written.
    """
    size = found.size if part is None else part.size
    if most is not None and size is not None and size > most:
        raise StoreError(f"too large: {size:,} bytes, the limit is {most:,}")
    if size is None:
        _fetch_unknown(found, target, most, stop)
        return
    start = 0 if part is None else part.offset
    expected = found.md5 if part is None else b""
    digests: list[bytes] = []

    def copy() -> None:
        digest = hashlib.md5(usedforsecurity=False)
        with write_errors(target):
            file = target.open("wb")
        with file:
            for place in range(start, start + size, _AT_ONCE):
                end = min(place + _AT_ONCE, start + size)
                content = found.store.read(found.path, place, end, stop=stop)
                with write_errors(target):
                    file.write(content)
                    file.flush()
                if expected:
                    digest.update(content)
        digests.append(digest.digest())
        if expected and digests[-1] != expected and digests[-1:] != digests[-2:-1]:
            raise ConnectionError("the content is not that of its ETag")

    tried(copy, stop=stop)


def _fetch_unknown(
    found: StoredObject, target: Path, most: int | None, stop: threading.Event | None
) -> None:
    """As `fetch`, for an object whose size the store does not tell."""
    limit = most if most is not None else 1 << 40
    content = tried(lambda: found.store.read_all(found.path, limit), stop=stop)
    if len(content) > limit:
        raise StoreError(f"too large: more than the limit of {limit:,} bytes")
    with write_errors(target):
        target.write_bytes(content)


def resolved(found: StoredObject, stop: threading.Event | None = None) -> StoredObject:
    """The object with its size and version, asked for where they are not known.

    Raises:
        StoreError: it is not there, or is a folder.
    """
    if found.version is not None:
        return found
    now = found.store.find(found.path, stop)
    if now is None:
        raise StoreError("is a folder; a list names files")
    return now
