"""Files beside the images: where they lie, how they are replaced, and tags in `.txt`."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from twlcli.annotations.builder import normal_label
from twlcli.errors import ImageError, TwlError
from twlcli.images.image_file import IMAGE_SUFFIXES, ImageFile
from twlcli.tagging.tags import Tags

SidecarNames = Literal["full", "stem"]  # a.jpg.xmp, or a.xmp

MAXIMUM_BYTES = 16 << 20  # of a sidecar that is read; the largest hold masks, a few MB
_FULL = (errno.ENOSPC, errno.EDQUOT)


class TxtWriter:
    """Tags in `a.txt` beside `a.jpg`, as captioning tools read them: `dog, person`.

    An image without tags gets an empty file. `read_sidecars` reads the tags back. A text file that
    says something else is not twl's to replace, as nothing in it tells who wrote it: it is left
    as it is, and a failure of that image, unless twl is told.
    """

    def __init__(self, *, names: SidecarNames = "stem", force: bool = False) -> None:
        """Choose how the files are called, and whether those that exist are replaced."""
        self.kind = f"txt:{names}"
        self._names: SidecarNames = names
        self._force = force

    def path(self, file: ImageFile) -> Path:
        """Where the tags of an image are written."""
        return sidecar_path(file, ".txt", self._names)

    def write(self, file: ImageFile, tags: Tags, *, replace: bool = False) -> None:
        """Write one image's tags.

        Args:
            file: the image.
            tags: its tags.
            replace: the text file that exists is known to be twl's.

        Raises:
            ImageError: the file exists and says something else, cannot be written, or a label
                cannot stand in it.
            TwlError: the disk is full.
        """
        for label in tags.labels:
            _check_label(label)
        content = (", ".join(tags.labels) + "\n").encode() if tags.labels else b""
        path = self.path(file)
        check_place(file, path, self._names)
        existing = read_existing(path)
        if existing == content:
            return
        if existing is not None and not (replace or self._force):
            raise ImageError(
                "its .txt exists already and says something else; --force replaces such files"
            )
        replace_file(path, content)


def _check_label(label: str) -> None:
    """Raise ImageError where a text file would not give the label back."""
    read = [normal_label(tag) for line in label.splitlines() for tag in line.split(",")]
    if read != [normal_label(label)] or not read[0] or _has_surrogate(label):
        raise ImageError(
            f"label {label!a} cannot stand in a .txt, where commas and lines part the tags; "
            "an alias in the policy file gives it another name"
        )


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def sidecar_path(file: ImageFile, suffix: str, names: SidecarNames) -> Path:
    """The path of a sidecar; its folder is the image's."""
    name = file.path.name if names == "full" else file.path.stem
    return file.path.with_name(name + suffix)


def check_place(file: ImageFile, path: Path, names: SidecarNames) -> None:
    """Raise ImageError where `path` cannot be the sidecar of this image alone."""
    if file.byte_range is not None:
        raise ImageError("lies in a tar file, where a sidecar has no place")
    if path == file.path:
        raise ImageError("bears the name of its own sidecar")
    if names == "stem" and (other := _namesake(file.path)) is not None:
        raise ImageError(f"its sidecar would also be that of {other!a}, which differs in kind")


def _namesake(path: Path) -> str | None:
    """Another image beside this one whose name differs in the extension alone."""
    for suffix in sorted(IMAGE_SUFFIXES):
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
