"""Files beside the images: where they lie, when they are written and how they are replaced."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from twlcli.errors import ImageError, TwlError
from twlcli.images.image_file import IMAGE_SUFFIXES, ImageFile, image_suffixes, suffix_of
from twlcli.images.kinds import KIND_OF_SUFFIX, RAW
from twlcli.io import claim, lies_in, open_own, put
from twlcli.tagging.fingerprint import Written
from twlcli.tagging.outputs.output import RunFacts
from twlcli.tagging.tags import Row, Tags
from twlcli.xmp.packet import MAXIMUM_BYTES

SIDECAR_NAMES = ("full", "stem")  # a.jpg.xmp, or a.xmp

_EVERY_SUFFIX = IMAGE_SUFFIXES.union(KIND_OF_SUFFIX)  # also of what nothing here can read
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Wrote:
    """What came of writing a sidecar.

    Attributes:
        changed: whether a file was written or removed.
        ours: whether what is there now is twl's own work.
        memo: what the writer has to be told when it writes this sidecar again.
        photograph: whether it was the photograph itself that was changed.
    """

    changed: bool
    ours: bool = True
    memo: str = ""
    photograph: bool = False


class SidecarWriter(Protocol):
    """Writes single sidecars of one kind.

    Attributes:
        kind: such as `xmp:full`; there is one file of a kind for each image.
        settings: what else decides its content, apart from the tags.
        merges: whether it heeds what somebody has edited; otherwise what was edited stays as it
            is until the tags change.
        insists: whether it has to see sidecars that are up to date as well.
    """

    kind: str
    settings: str
    merges: bool
    insists: bool

    def path(self, file: ImageFile) -> Path:
        """Where the sidecar of an image lies; no file is changed."""

    def write(self, file: ImageFile, tags: Tags, *, ours: bool, memo: str) -> Wrote:
        """Write one.

        Args:
            file: the image.
            tags: its tags.
            ours: what is there now is twl's own work, unchanged.
            memo: that of the last time; empty where there was none.

        Raises:
            ImageError: this one cannot be written; the message is the reason alone.
            TwlError: the disk is full.
        """


class SidecarSink:
    """Has sidecars written, but not those that are up to date or that somebody has edited since."""

    def __init__(self, writer: SidecarWriter, run: RunFacts) -> None:
        self._writer = writer
        self._log = run.log
        self._count = run.sidecars

    def write(self, file: ImageFile, row: Row) -> None:
        """Write the sidecar of one image, if there is need to."""
        if not isinstance(row, Tags):
            return
        check_inside(file)
        if self._log is None:
            self._noted(self._writer.write(file, row, ours=False, memo=""))
            return
        kind, path = self._writer.kind, self._writer.path(file)
        content = _content(file, self._writer.settings, row)
        before, now = self._log.written(file.name, kind), status_of(path)
        if before is not None and self._is_done(before, content, now):
            self._noted(Wrote(changed=False))
            return
        ours = before is not None and before.status is not None and before.status == now
        memo = "" if before is None else before.content[DIGEST_BYTES:].decode(errors="replace")
        wrote = self._writer.write(file, row, ours=ours, memo=memo)
        status = status_of(self._writer.path(file)) if wrote.ours else None
        self._log.note(Written(file.name, kind, content + wrote.memo.encode(), status))
        self._noted(wrote)

    def _is_done(self, before: Written, content: bytes, now: tuple[int, int] | None) -> bool:
        if self._writer.insists or before.content[:DIGEST_BYTES] != content:
            return False
        if self._writer.merges:
            return before.status == now
        return before.status is None or now is not None  # what somebody has edited since stays

    def _noted(self, wrote: Wrote) -> None:
        if not wrote.changed:
            self._count.unchanged += 1
        elif wrote.photograph:
            self._count.photographs += 1
        else:
            self._count.written += 1


DIGEST_BYTES = 32


def _content(file: ImageFile, settings: str, tags: Tags) -> bytes:
    """A digest of all that a sidecar is made from, and of its place."""
    parts = [str(file.path), settings, tags.labels, tags.probabilities]
    return hashlib.sha256(json.dumps(parts).encode()).digest()


def status_of(path: Path) -> tuple[int, int] | None:
    """Size and time of the last change of a file; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def check_names(names: str | None) -> None:
    """Raise TwlError where sidecars cannot be named so."""
    if names is not None and names not in SIDECAR_NAMES:
        raise TwlError(f"sidecar names '{names}': expected {' or '.join(SIDECAR_NAMES)}")


def sidecar_path(file: ImageFile, suffix: str, names: str) -> Path:
    """The path of a sidecar; its folder is the image's."""
    name = file.path.name if names == "full" else file.path.stem
    return file.path.with_name(name + suffix)


def found_path(file: ImageFile, suffix: str) -> Path:
    """The path of the sidecar that is there; `a.jpg.xmp` where there is none, or both are."""
    full, stem = (sidecar_path(file, suffix, names) for names in SIDECAR_NAMES)
    return stem if _is_there(stem) and not _is_there(full) and _owns_stem(file.path) else full


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)


def _owns_stem(path: Path) -> bool:
    """Whether `a.xmp` is this image's own: of images that share the stem, it is the raw one's."""
    others = [suffix_of(name) for name in _namesakes(path, _EVERY_SUFFIX)]
    is_raw = suffix_of(path.name) in RAW.suffixes
    return not others or (is_raw and not any(suffix in RAW.suffixes for suffix in others))


def check_inside(file: ImageFile) -> None:
    """Raise ImageError where links have led from the folders given to an image outside of them.

    It is tagged; but who packs a folder may put a link into it to one's own photographs.
    """
    _check_lies_in(file.path, file.folders)


def _check_lies_in(path: Path, folders: Sequence[Path]) -> None:
    if folders and not lies_in(path.parent, folders):
        raise ImageError(
            "lies outside of the folder given, over a link; nothing is written there unless its "
            "own folder is given too"
        )


def check_place(file: ImageFile, path: Path, names: str | None) -> None:
    """Raise ImageError where `path` cannot be the sidecar of this image alone."""
    if file.byte_range is not None:
        raise ImageError("is in a tar file, which has no place for a sidecar")
    if path == file.path:
        raise ImageError("has the name of its own sidecar")
    if names == "stem" and (other := next(_namesakes(file.path, image_suffixes()), None)):
        raise ImageError(
            f"{other!a} would use the same sidecar, unless sidecars are named after the full name "
            "(sidecar-names full)"
        )


def _namesakes(path: Path, suffixes: frozenset[str]) -> Iterator[str]:
    """Other images beside this one whose names differ in the extension alone."""
    for suffix in sorted(suffixes):
        for name in (path.stem + suffix, path.stem + suffix.upper()):
            with suppress(OSError):  # nearly always: it is not there
                if name != path.name and not path.with_name(name).samefile(path):
                    yield name


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
        with open_own(path) as file:
            return file.read(MAXIMUM_BYTES)


def replace_file(path: Path, content: bytes, folders: Sequence[Path] = ()) -> None:
    """Write a sidecar that is never half there, with the rights of the one that it replaces.

    What replaces a file is on the disk before the old one is given up. A new file is left to the
    system's own time: waiting for the disk takes several times as long as writing a sidecar.

    The temporary file's name depends on `path` alone: what a killed run leaves is removed by the
    run that writes the same sidecar again. It is locked: of two runs that write one sidecar at the
    same time, one fails.

    Args:
        path: the sidecar.
        content: what it holds.
        folders: where it has to lie, as for `check_inside`. Whether it does is seen once more when
            the new file is there: if its folder is exchanged for a link later, the file is gone.

    Raises:
        ImageError: it cannot be written, or another run is writing it.
        TwlError: the disk is full.
    """
    if len(content) > MAXIMUM_BYTES:  # it would not be read again
        raise ImageError(f"its {path.suffix} would be larger than {MAXIMUM_BYTES >> 20} MiB")
    digest = hashlib.blake2b(os.fsencode(path.name), digest_size=8).hexdigest()
    temporary = path.with_name(f".twl-{digest}.tmp")
    with failures_of(path, "written"), os.fdopen(_claimed(temporary, path), "wb") as file:
        try:
            _check_lies_in(path, folders)
            file.write(content)
            file.flush()
            if _is_there(path):
                os.fsync(file.fileno())
            if os.name == "nt":
                file.close()  # Windows moves no open file
            put(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _claimed(temporary: Path, path: Path) -> int:
    try:
        return claim(temporary, path)
    except TwlError:
        raise ImageError(f"its {path.suffix} is being written by another twl") from None


def remove_file(path: Path) -> None:
    """Remove a sidecar.

    Raises:
        ImageError: it cannot be removed.
    """
    with failures_of(path, "removed"):
        path.unlink(missing_ok=True)


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
