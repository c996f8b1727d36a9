"""What a scan finds: an image's file, or the part of a tar that holds it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from twlcli.errors import ImageError
from twlcli.images.kinds import KIND_OF_SUFFIX

if TYPE_CHECKING:
    from twlcli.stores.store import StoredObject

IMAGE_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".dib"),
        *(".tif", ".tiff", ".gif", ".avif", ".heic", ".heif"),
        *(".jp2", ".j2k", ".j2c", ".jpf", ".jpx"),
    )
)

MAX_BYTES = 1 << 30  # bytes; what a worker reads into memory at once. No camera writes 1 GiB.


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Where the bytes of an image lie inside a larger file.

    Attributes:
        offset: of the first byte.
        size: number of bytes.
        mtime_ns: when the larger file was last changed, as it was found.
    """

    offset: int
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file, or what stands where one was looked for.

    Attributes:
        path: absolute path; that of the tar where the image lies in one.
        name: what the file is called in outputs, with forward slashes. Bytes that are not UTF-8
            are kept as `os.fsdecode` does.
        failure: why it cannot be read, where that is known already; for a folder that cannot be
            listed the name ends with a slash.
        byte_range: the part of `path` that is the image; None where it is the whole file.
        folders: those that were given, where it was found in one of them, perhaps over a link that
            leads out of all; empty where the file itself was named.
        stored: the object in a store that is the image, or of which `byte_range` is; then `path`
            is no file.
    """

    path: Path
    name: str
    failure: str | None = None
    byte_range: ByteRange | None = None
    folders: tuple[Path, ...] = ()
    stored: StoredObject | None = None


@dataclass(frozen=True)
class Failure:
    """An image from which nothing came, and why."""

    image: str
    reason: str


def suffix_of(name: str) -> str:
    """The suffix of a file's name, in lower case."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 -- names, by the million


def is_image(name: str) -> bool:
    """Whether a file's name says that it is an image that can be read here."""
    suffix = suffix_of(name)
    if suffix in IMAGE_SUFFIXES:
        return True
    kind = KIND_OF_SUFFIX.get(suffix)
    return kind is not None and kind.is_readable


@cache
def image_suffixes() -> frozenset[str]:
    """The suffixes of all images that can be read here."""
    return IMAGE_SUFFIXES.union(filter(is_image, KIND_OF_SUFFIX))


def is_passed_over(name: str) -> bool:
    """Whether a file's name says that it is a photograph that nothing installed can read."""
    kind = KIND_OF_SUFFIX.get(suffix_of(name))
    return kind is not None and not kind.is_readable


def read_range(path: Path, part: ByteRange) -> bytes:
    """The bytes of an image inside a larger file.

    Raises:
        ImageError: they cannot be read, are no longer all there, or are more than `MAX_BYTES`; the
            message is the reason alone.
    """
    if part.size > MAX_BYTES:
        raise ImageError(f"too large: {part.size:,} bytes, the limit is {MAX_BYTES:,}")
    try:
        with path.open("rb") as file:
            file.seek(part.offset)
            content = file.read(part.size)
    except FileNotFoundError:
        raise ImageError(f"no such file: {path.name}") from None
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror or error})") from error
    if len(content) < part.size:
        raise ImageError(f"{path.name} became shorter while it was read")
    return content
