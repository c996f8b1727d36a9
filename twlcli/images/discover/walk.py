"""Walks folders, whole or as far as a glob leads, in one order and in bounded memory."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from twlcli.images.discover.compact import CompactSet, SortedNames
from twlcli.images.discover.gitignore import Patterns
from twlcli.images.discover.left_out import LeftOut, is_system_folder
from twlcli.images.image_file import ImageFile, is_image, is_passed_over, suffix_of

# Where a folder stands in a glob: the places in its parts that the folder's path can have reached,
# such as {1, 2} for `photos/a/b` in `photos/**/b/*.jpg`, whose parts below photos are **, b, *.jpg.
Reached = frozenset[int]
EVERYTHING: Reached = frozenset([-1])  # below a folder that is wanted as a whole


MAX_WAYS = 1000  # to the same folder, over links


def walk_folders(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Each folder at or below `folder` with its files' names, in alphabetical order.

    Folders come as paths relative to `folder`: empty for itself, else ending with `/`. Names that
    begin with a dot are left out, and system folders such as `@eaDir`. Links to folders are
    followed, but never back up into a folder that contains them: what two links lead to comes
    twice, under two names. `Walker` gives each image once, in less memory.

    Raises:
        OSError: a folder cannot be read, or links lead to one in more than `MAX_WAYS` ways: those
            among ten folders do so in millions.
    """
    waiting: list[tuple[Path, str, frozenset[tuple[int, int]]]] = [(folder, "", frozenset())]
    ways: Counter[tuple[int, int]] = Counter()
    while waiting:
        path, relative, above = waiting.pop()
        status = path.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            continue
        ways[identity] += 1
        if ways[identity] > MAX_WAYS:
            message = f"links lead here in more than {MAX_WAYS:,} ways"
            raise OSError(errno.ELOOP, message, str(path))
        with os.scandir(path) as entries:
            visible = sorted((e for e in entries if e.name[0] != "."), key=lambda e: e.name)
            folders = {entry.name: None for entry in visible if _is_folder(entry)}
        yield relative, [entry.name for entry in visible if entry.name not in folders]
        inside = above | {identity}
        waiting += [
            (path / name, f"{relative}{name}/", inside)
            for name in reversed(folders)
            if not is_system_folder(name)
        ]


def is_tar(name: str) -> bool:
    """Whether a file's name says that it is a plain tar."""
    return name[-4:].lower() == ".tar"


def is_glob(text: str) -> bool:
    """Whether a path holds wildcards."""
    return any(character in text for character in "*?[")


def parts_of(glob: str) -> tuple[Path, tuple[str, ...]]:
    """The folder in front of a glob, and the parts of the glob below it."""
    parts = Path(glob).parts
    first = next((place for place, part in enumerate(parts) if is_glob(part)), len(parts))
    return Path(*parts[:first]), parts[first:]


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder on the way: its path, what goes before its names, how the patterns see it."""

    path: str
    prefix: str
    relative: str
    reached: Reached


@dataclass(frozen=True, slots=True)
class _Found:
    """What lies in a folder: files, why some of them cannot be read, and folders."""

    files: SortedNames
    failures: dict[str, str]
    folders: SortedNames


@dataclass(frozen=True)
class Walker:
    """Walks folders, each real one once for every purpose, so that links in circles end.

    Attributes:
        patterns: which images are taken and which folders are entered.
        hidden: also take files and folders whose name starts with a dot.
        left_out: counts what is passed over: system folders, unless the glob names them, and
            photographs that nothing here reads.
        given: all folders that were given; see `ImageFile`.
        visited: the folders that were walked.
    """

    patterns: Patterns
    hidden: bool = False
    left_out: LeftOut = field(default_factory=LeftOut)
    given: tuple[Path, ...] = ()
    visited: CompactSet = field(default_factory=CompactSet)

    def folder(self, root: Path, prefix: str) -> Iterator[ImageFile]:
        """The images below a folder: its own, then those of its folders, both sorted by name.

        `prefix` goes before the names; the patterns see the path below `root`.
        """
        yield from self._walk(Folder(str(root.absolute()), prefix, "", EVERYTHING), ())

    def glob(self, pattern: str) -> Iterator[ImageFile]:
        """The images and tars that a glob matches, and the images below folders that it matches.

        `*`, `?` and `[a-z]` stand for parts of a name, `**` for any number of folders. What begins
        with a dot is matched as in a shell: where the part does so too. The patterns see the names
        as they are yielded. The order is that of `folder`.
        """
        root, rest = parts_of(pattern)
        prefix = "" if root == Path() else root.as_posix().rstrip("/") + "/"
        folder = Folder(str(root.absolute()), prefix, prefix, closed({0}, rest))
        yield from self._walk(folder, rest)

    def _walk(self, root: Folder, parts: tuple[str, ...]) -> Iterator[ImageFile]:
        waiting = [iter([root])]  # what is left to walk on each level
        while waiting:
            folder = next(waiting[-1], None)
            if folder is None:
                waiting.pop()
                continue
            try:
                status = os.stat(folder.path)  # noqa: PTH116  Path objects double a scan's time
                if not self.visited.adds((status.st_dev, status.st_ino, folder.reached)):
                    continue
                found = self._list(folder, parts)
            except OSError as error:
                reason = f"folder cannot be read ({error.strerror or error})"
                yield ImageFile(Path(folder.path), folder.prefix or ".", reason)
                continue
            for name in found.files:
                if self._takes(folder, name):
                    path = Path(folder.path, name)
                    failure = found.failures.get(name)
                    yield ImageFile(path, folder.prefix + name, failure, folders=self.given)
            waiting.append(self._below(folder, found.folders, parts))

    def _list(self, folder: Folder, parts: tuple[str, ...]) -> _Found:
        found = _Found(SortedNames(), {}, SortedNames())
        with os.scandir(folder.path) as entries:
            for entry in entries:
                after = self._after(entry.name, parts, folder.reached)
                if not after:
                    continue
                if _is_folder(entry):
                    if not self._leaves_out(entry.name, folder, parts):
                        found.folders.add(entry.name)
                    continue
                if self._wants(entry.name, folder, parts, after):
                    found.files.add(entry.name)
                    if failure := _failure(entry):
                        found.failures[entry.name] = failure
        return found

    def _wants(self, name: str, folder: Folder, parts: tuple[str, ...], after: Reached) -> bool:
        """Whether a file is an image or tar that is wanted; what cannot be read here is counted."""
        matched = len(parts) in after
        below = matched or -1 in after  # not only on the way to what is wanted
        if (below and is_image(name)) or (matched and is_tar(name)):
            return True
        if below and is_passed_over(name) and self._takes(folder, name):
            self.left_out.suffixes[suffix_of(name)] += 1
        return False

    def _takes(self, folder: Folder, name: str) -> bool:
        return self.patterns.takes(folder.relative + name)

    def _leaves_out(self, name: str, folder: Folder, parts: tuple[str, ...]) -> bool:
        """Whether a folder is a system folder that the glob does not name; then it is counted."""
        if not is_system_folder(name) or name in {_at(place, parts) for place in folder.reached}:
            return False
        if self.patterns.enters(f"{folder.relative}{name}/"):
            self.left_out.folders[name] += 1
        return True

    def _below(
        self, folder: Folder, names: SortedNames, parts: tuple[str, ...]
    ) -> Iterator[Folder]:
        """The folders in a folder, as far as they may hold images that are taken."""
        for name in names:
            relative = f"{folder.relative}{name}/"
            if self.patterns.enters(relative):
                after = closed(self._after(name, parts, folder.reached), parts)
                path = self._joined(folder.path, name)
                everything = EVERYTHING if len(parts) in after else frozenset()
                yield Folder(path, f"{folder.prefix}{name}/", relative, after | everything)

    def _joined(self, folder: str, name: str) -> str:
        return os.path.join(folder, name)  # noqa: PTH118

    def _after(self, name: str, parts: tuple[str, ...], reached: Reached) -> Reached:
        """What of the glob is reached with one more name; empty where it does not match."""
        visible = self.hidden or not name.startswith(".")
        if reached == EVERYTHING:
            return reached if visible else frozenset()
        # What ** has taken may be all of it; what leads up to a ** is a folder, but no file yet.
        taken = {
            place for place in reached if visible and (place == -1 or _at(place, parts) == "**")
        }
        after = set(closed(taken, parts))
        for place in reached:
            part = _at(place, parts)
            if part not in ("", "**") and (visible or part.startswith(".")) and fnmatch(name, part):
                after.add(place + 1)
        return frozenset(after)


def _at(place: int, parts: tuple[str, ...]) -> str:
    """A part of the glob; empty behind its end, and below what is wanted as a whole."""
    return parts[place] if 0 <= place < len(parts) else ""


def closed(reached: set[int] | Reached, parts: tuple[str, ...]) -> Reached:
    """`reached`, and what lies behind a `**`, which may stand for no folder at all."""
    closed = set(reached)
    for place, part in enumerate(parts):
        if place in closed and part == "**":
            closed.add(place + 1)
    return frozenset(closed)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _failure(entry: os.DirEntry[str]) -> str | None:
    try:
        if entry.is_file():
            return None
        mode = entry.stat().st_mode
    except FileNotFoundError:
        return "link to a file that is not there"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return f"not a file ({stat.filemode(mode)})"  # a pipe would block for ever
