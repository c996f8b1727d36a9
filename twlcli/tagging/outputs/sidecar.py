"""Files beside the images: where they lie, when they are written and how they are replaced."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from twlcli.errors import ImageError, TwlError
from twlcli.images.image_file import ImageFile, image_suffixes
from twlcli.tagging.fingerprint import Written
from twlcli.tagging.outputs.output import SidecarLog
from twlcli.tagging.tags import Row, Tags

SIDECAR_NAMES = ("full", "stem")  # a.jpg.xmp, or a.xmp

MAXIMUM_BYTES = 16 << 20  # of a sidecar that is read; the largest hold masks, a few MB
_FULL = (errno.ENOSPC, errno.EDQUOT)


class SidecarWriter(Protocol):
    """Writes single sidecars of one kind.

    Attributes:
        kind: such as `xmp:full`; there is one file of a kind for each image.
        settings: what else decides its content, apart from the tags.
    """

    kind: str
    settings: str

    def path(self, file: ImageFile) -> Path:
        """Where the sidecar of an image lies; no file is touched."""

    def write(self, file: ImageFile, tags: Tags, *, ours: bool) -> None:
        """Write one; `ours` says that what is there now is twl's own work, unchanged.

        Raises:
            ImageError: this one cannot be written; the message is the reason alone.
            TwlError: the disk is full.
        """


class SidecarSink:
    """Has sidecars written, but not those that are up to date or that somebody has edited since."""

    def __init__(self, writer: SidecarWriter, log: SidecarLog | None) -> None:
        self._writer = writer
        self._log = log

    def write(self, file: ImageFile, row: Row) -> None:
        """Write the sidecar of one image, if there is need to."""
        if not isinstance(row, Tags):
            return
        if self._log is None:
            self._writer.write(file, row, ours=False)
            return
        kind, path = self._writer.kind, self._writer.path(file)
        content = _content(file, self._writer.settings, row)
        before, now = self._log.written(file.name, kind), _status(path)
        if before is not None and before.content == content and (before.status is None or now):
            return  # also where somebody has edited it since: their work stays
        ours = before is not None and before.status is not None and before.status == now
        self._writer.write(file, row, ours=ours)
        self._log.note(Written(file.name, kind, content, _status(path)))


def _content(file: ImageFile, settings: str, tags: Tags) -> bytes:
    """A digest of all that a sidecar is made from, and of its place."""
    parts = [str(file.path), settings, tags.labels, tags.probabilities]
    return hashlib.sha256(json.dumps(parts).encode()).digest()


def _status(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def check_names(names: str) -> None:
    """Raise TwlError where sidecars cannot be named so."""
    if names not in SIDECAR_NAMES:
        raise TwlError(f"sidecar names '{names}': expected {' or '.join(SIDECAR_NAMES)}")


def sidecar_path(file: ImageFile, suffix: str, names: str) -> Path:
    """The path of a sidecar; its folder is the image's."""
    name = file.path.name if names == "full" else file.path.stem
    return file.path.with_name(name + suffix)


def check_place(file: ImageFile, path: Path, names: str) -> None:
    """Raise ImageError where `path` cannot be the sidecar of this image alone."""
    if file.byte_range is not None:
        raise ImageError("is in a tar file, which has no place for a sidecar")
    if path == file.path:
        raise ImageError("has the name of its own sidecar")
    if names == "stem" and (other := _namesake(file.path)) is not None:
        raise ImageError(
            f"{other!a} would use the same sidecar, unless sidecars are named after the full name"
        )


def _namesake(path: Path) -> str | None:
    """Another image beside this one whose name differs in the extension alone."""
    for suffix in sorted(image_suffixes()):
        for name in (path.stem + suffix, path.stem + suffix.upper()):
            with suppress(OSError):  # nearly always: it is not there
                if name != path.name and not path.with_name(name).samefile(path):
                    return name
    return None


def read_existing(path: Path) -> bytes | None:
    """What a sidecar holds; None where there is none.

    Raises:
        ImageError: it is something else than a file, too large, or cannot be read.
    """
    with failures_of(path, "read"):
        try:
            status = path.lstat()
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):  # a link may lead anywhere, a pipe would block
            raise ImageError(f"its {path.suffix} is not a file ({stat.filemode(status.st_mode)})")
        if status.st_size > MAXIMUM_BYTES:
            raise ImageError(f"its {path.suffix} is larger than {MAXIMUM_BYTES >> 20} MiB")
        return path.read_bytes()


def replace_file(path: Path, content: bytes) -> None:
    """Write a sidecar that is never half there, with the rights of the one that it replaces.

    What replaces a file is on the disk before the old one is given up. A new file is left to the
    system's own time: waiting for the disk takes several times as long as writing a sidecar.

    The temporary file's name depends on `path` alone: what a killed run leaves is taken up by the
    run that writes the same sidecar again.

    Raises:
        ImageError: it cannot be written.
        TwlError: the disk is full.
    """
    digest = hashlib.blake2b(os.fsencode(path.name), digest_size=8).hexdigest()
    temporary = path.with_name(f".twl-{digest}.tmp")
    with failures_of(path, "written"):
        try:
            temporary.unlink(missing_ok=True)
            with temporary.open("xb") as file:
                file.write(content)
                with suppress(FileNotFoundError):
                    _keep_rights(path.lstat(), file.fileno())
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _keep_rights(status: os.stat_result, descriptor: int) -> None:
    if hasattr(os, "fchmod"):  # not on Windows
        with suppress(PermissionError):  # only the superuser gives files away
            os.fchown(descriptor, status.st_uid, status.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(status.st_mode))


@contextmanager
def failures_of(path: Path, action: str) -> Iterator[None]:
    """Turn the operating system's refusals into this image's failure, a full disk into the end."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            raise TwlError(f"{path}: cannot be {action} ({reason})") from error
        raise ImageError(f"its {path.suffix} cannot be {action} ({reason})") from error
