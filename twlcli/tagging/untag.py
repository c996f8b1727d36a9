"""Taking out again what `tag_files` wrote beside photographs and into them."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NoReturn

from twlcli.errors import ImageError, TwlError, reason_of
from twlcli.images.discover.left_out import is_system_folder
from twlcli.images.image_file import MAX_BYTES, Failure, ImageFile, is_image
from twlcli.io import lies_in, listed, open_own
from twlcli.tagging.fingerprint import Written
from twlcli.tagging.journal import Journal, open_notes
from twlcli.tagging.outputs.exiftool import ExifTool
from twlcli.tagging.outputs.sidecar import (
    DIGEST_BYTES,
    read_existing,
    remove_file,
    replace_file,
    sidecar_path,
    status_of,
)
from twlcli.tagging.outputs.txt import APPENDED, WHOLE, was_new, without_appended
from twlcli.tagging.outputs.xmp.merging import untagged
from twlcli.tagging.outputs.xmp.photographs import check_photograph, packet_of, replace_packet
from twlcli.xmp.place import TWL

JOURNAL = ".twl-journal"
Action = Literal["removed", "cleaned"]
_MARKS = tuple(TWL.encode(codec) for codec in ("utf-8", "utf-16-le", "utf-16-be"))


@dataclass(frozen=True)
class Untagged:
    """What `untag` did, or would do.

    Attributes:
        removed: sidecars that twl had made and that were removed.
        cleaned: sidecars and photographs from which twl's keywords were taken.
        left: text files that somebody has changed since twl wrote them, and that stay.
        failures: files that could not be read or written; they are as they were.
    """

    removed: int
    cleaned: int
    left: int
    failures: tuple[Failure, ...]


def untag(
    paths: Iterable[Path | str],
    *,
    embedded: bool = False,
    journal: Path | str | None = None,
    keep_original: bool = True,
    exiftool: str = "exiftool",
    dry_run: bool = False,
    watcher: Callable[[Path, Action], object] = lambda path, action: None,
) -> Untagged:
    """Take twl's keywords out of XMP sidecars, and remove the sidecars that twl itself made.

    A sidecar of somebody else's is then what it was before twl, byte for byte, if nobody has
    changed it since; what has been added to it since stays. A text file says nowhere who wrote it:
    it is removed, or loses the tags that were appended, where a journal knows it and nobody has
    changed it since.

    Args:
        paths: folders, with all folders in them; sidecars; and images, for the sidecars beside.
        embedded: take the keywords out of the photographs too, through ExifTool.
        journal: of the run that wrote text files beside the images of one folder. None for
            `.twl-journal` in each folder.
        keep_original: keep each photograph that changes as it was, as `a.jpg_original`.
        exiftool: the program's name or path.
        dry_run: change nothing.
        watcher: told of each file that is removed or cleaned, or would be.

    Raises:
        TwlError: a path is not there, a folder cannot be read, the disk is full, or ExifTool is
            needed and not installed.
    """
    given = [Path(path) for path in listed(paths)]
    if not given:
        raise TwlError("nothing to untag", hint="give folders, sidecars or images")
    for path in given:
        if not os.path.lexists(path):
            raise TwlError(f"{path}: no such file or folder")
    folders = [path for path in given if path.is_dir()]
    if journal is not None and len(folders) != 1:
        raise TwlError("a journal is that of one folder; give this folder alone")
    with ExitStack() as stack:
        tool = stack.enter_context(ExifTool(exiftool)) if embedded else None
        places = [path if path.is_dir() else path.parent for path in given]
        job = _Job(tool, places, keep_original, dry_run, watcher)
        for path in _files(given):
            job.take(path)
        for folder in folders:
            notes = Path(journal) if journal is not None else folder / JOURNAL
            if journal is not None or notes.exists():
                job.texts(folder, notes, own=journal is None)
    done = job.done
    return Untagged(done["removed"], done["cleaned"], job.left, tuple(job.failures))


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """Every file, each once; beside an image also its sidecars."""
    visited: set[tuple[int, int]] = set()
    for path in paths:
        if path.is_dir():
            yield from _inside(path, visited)
        else:
            yield path
            if is_image(path.name):
                file = ImageFile(path, path.name)
                yield from (sidecar_path(file, ".xmp", names) for names in ("full", "stem"))


def _inside(root: Path, visited: set[tuple[int, int]]) -> Iterator[Path]:
    def refuse(error: OSError) -> NoReturn:
        raise TwlError(f"{error.filename}: folder cannot be read ({error.strerror or error})")

    for here, folders, names in os.walk(root, onerror=refuse, followlinks=True):
        try:
            status = Path(here).stat()
        except OSError as error:  # it has just gone, or leads in circles
            refuse(error)
        if (status.st_dev, status.st_ino) in visited:  # links in circles
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(
            name for name in folders if not (is_system_folder(name) or name.startswith(".twl-"))
        )
        yield from (Path(here, name) for name in sorted(names))


@dataclass
class _Job:
    exiftool: ExifTool | None
    places: Sequence[Path]
    keep_original: bool
    dry_run: bool
    watcher: Callable[[Path, Action], object]
    done: Counter[Action] = field(default_factory=Counter)
    left: int = 0
    failures: list[Failure] = field(default_factory=list)

    def take(self, path: Path) -> None:
        """Take twl's keywords out of one file, if it is of a kind that may have some."""
        try:
            if path.suffix.lower() == ".xmp":
                self._sidecar(path)
            elif self.exiftool is not None and is_image(path.name) and _mentions_twl(path):
                self._photograph(self.exiftool, path)
        except ImageError as error:
            self.failures.append(Failure(str(path), error.message))

    def _sidecar(self, path: Path) -> None:
        if not _mentions_twl(path):
            return
        content = read_existing(path) or b""
        after = untagged(content)
        if after is None:
            self._done(path, "removed", lambda: remove_file(path))
        elif after != content:
            self._done(path, "cleaned", lambda: replace_file(path, after))

    def _photograph(self, exiftool: ExifTool, path: Path) -> None:
        check_photograph(path)
        packet = packet_of(exiftool, path)
        after = untagged(packet) if packet else b""
        if after != packet:
            keep = self.keep_original
            self._done(
                path,
                "cleaned",
                lambda: replace_packet(exiftool, path, after, keep_original=keep),
            )

    def texts(self, folder: Path, notes: Path, *, own: bool) -> None:
        """Undo the text files of a journal, as far as they are as twl left them."""
        with open_notes(notes, own=own) as journal:
            for written in journal.all_written((WHOLE, APPENDED)):
                kind, _, names = written.kind.partition(":")
                image = ImageFile(folder / written.name, written.name)
                path = image.path
                try:
                    path = sidecar_path(image, ".txt", names)
                    if path.is_file() and not path.is_symlink() and written.status is not None:
                        self._text(journal, path, written, appended=kind == APPENDED)
                except ImageError as error:
                    self.failures.append(Failure(str(path), error.message))
                except (OSError, ValueError) as error:  # names that no file can have
                    reason = reason_of(error) if isinstance(error, OSError) else str(error)
                    self.failures.append(Failure(str(path), f"cannot be read ({reason})"))

    def _text(self, journal: Journal, path: Path, written: Written, *, appended: bool) -> None:
        memo = written.content[DIGEST_BYTES:].decode(errors="replace")
        if not appended:
            text = "" if status_of(path) == written.status else None
            is_new = True
        else:
            text, is_new = without_appended(read_existing(path), memo), was_new(memo)
        if text is None:
            self.left += 1
            return
        if is_new and not text.strip():
            self._done(path, "removed", lambda: remove_file(path))
        elif memo[1:]:
            self._done(path, "cleaned", lambda: replace_file(path, text.encode()))
        if not self.dry_run:
            journal.forget(written)

    def _done(self, path: Path, action: Action, change: Callable[[], object]) -> None:
        if not lies_in(path.parent, self.places):  # over a link, or a journal that says so
            raise ImageError("lies outside of what was given; it is left as it is")
        if not self.dry_run:
            change()
        self.done[action] += 1
        self.watcher(path, action)


def _mentions_twl(path: Path) -> bool:
    """Whether twl's namespace stands in a file; it does in none that twl would not write."""
    longest = max(map(len, _MARKS))
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
            return False  # a pipe would block, and a file with holes be read for hours
        with open_own(path) as file:
            end = b""
            while piece := file.read(1 << 20):
                if any(mark in end + piece for mark in _MARKS):
                    return True
                end = piece[-longest:]
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror or error})") from error
    return False
