"""Finds images, one at a time: in folders, by globs, in lists and in tars."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from twlcli.errors import TwlError
from twlcli.images.discover.compact import CompactSet
from twlcli.images.discover.gitignore import Patterns
from twlcli.images.discover.left_out import LeftOut
from twlcli.images.discover.path_list import read_list
from twlcli.images.discover.tar import members
from twlcli.images.discover.walk import Walker, is_glob, is_tar, parts_of
from twlcli.images.image_file import ImageFile
from twlcli.io import is_address

if TYPE_CHECKING:
    from twlcli.images.discover.remote import StoredRoot

__all__ = ["STANDARD_INPUT", "ImageFile", "scan"]

STANDARD_INPUT = "-"


def scan(
    paths: Iterable[Path | str],
    *,
    lists: Sequence[Path | str] = (),
    null: bool = False,
    standard_input: BinaryIO | None = None,
    hidden: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    left_out: LeftOut | None = None,
) -> Iterator[ImageFile]:
    """Find the images that paths and lists name, in the order given, folders sorted by name.

    - A folder is walked recursively; the extension decides. Its images are named relative to
      it. Where it is not the only source, their names start with the folder as given, so that
      names stay distinct.
    - A file is taken whatever its name. A `.tar` that is named, not one found in a folder, stands
      for the images in it: `shard.tar/member.jpg`.
    - A glob that is no file stands for what it matches below the fixed part in front of it:
      images, tars, and folders as a whole, sorted as in a folder.
    - A list names files and tars, relative to the current folder. What cannot be read there is
      yielded with its `failure`.
    - An address such as `s3://bucket/photos` is taken in the same way, as a folder, object, tar,
      glob or a line of a list. Its names are addresses without secrets; see `stores.address.shown`.

    Each real folder is walked once, so that links that lead in circles end; a file that several
    sources name comes once, where it comes first. Memory grows by the names in the largest folder,
    and with lists or several sources by about 20 bytes for each file.

    Args:
        paths: folders, files, tars and globs.
        lists: files with names; `-` is `standard_input`.
        null: the names in lists end with NUL, not with a line.
        standard_input: read where a list is `-`.
        hidden: also take what starts with a dot in folders, globs and tars.
        include: patterns of .gitignore, of which an image must match one; see `Patterns`. They see
            the path below a folder given or inside a tar, else the name that is yielded.
        exclude: such patterns, of which it must match none.
        left_out: counts what is passed over. A system folder such as `@eaDir` is, unless it is
            given itself or named in a glob, and photographs that nothing installed can read are.

    Yields:
        Images, and what could not be read with its `failure`. No two have the same name.

    Raises:
        TwlError: a path or list does not exist, a folder or glob finds no images, or a pattern is
            none; raised before the first file. Later, when a list is no list of names.
    """
    patterns = Patterns(include=include, exclude=exclude)
    roots = [_root(path) for path in paths]
    for root in roots:
        root.check(patterns, hidden=hidden)
    for each in lists:
        if str(each) == STANDARD_INPUT:
            if standard_input is None:
                raise TwlError("the list is standard input, which is not available")
        elif Path(each).is_dir() or not Path(each).exists():
            what = "is a folder" if Path(each).is_dir() else "no such file"
            raise TwlError(f"{each}: {what}, expected a list of file names")
    given = tuple(folder for root in roots if (folder := root.folder()) is not None)
    walker = Walker(patterns, hidden, LeftOut() if left_out is None else left_out, given)
    alone = len(roots) == 1 and not lists
    found = _scan(roots, walker, alone=alone)
    if alone:
        return found
    return _once(_chained(found, _listed(lists, walker, null=null, standard_input=standard_input)))


def _chained(*parts: Iterator[ImageFile]) -> Iterator[ImageFile]:
    for part in parts:
        yield from part


def _root(path: Path | str) -> _Root | StoredRoot:
    if is_address(path):
        from twlcli.images.discover.remote import StoredRoot  # most runs read no store

        return StoredRoot(str(path))
    return _Root.of(path)


@dataclass(frozen=True)
class _Root:
    """A path as given: a glob, a folder, or a file."""

    path: Path
    glob: str | None = None

    @classmethod
    def of(cls, path: Path | str) -> _Root:
        text = str(path)
        is_there = os.path.lexists(text)  # a file may be called holiday[1].jpg
        return cls(Path(path), glob=None if is_there or not is_glob(text) else text)

    def folder(self) -> Path | None:
        """The folder that is searched; None for a file."""
        if self.glob is not None:
            return parts_of(self.glob)[0].absolute()
        return self.path.absolute() if self.path.is_dir() else None

    def find(self, walker: Walker, *, alone: bool) -> Iterator[ImageFile]:
        """What the path stands for; tars are not opened yet."""
        if self.glob is not None:
            yield from walker.glob(self.glob)
        elif self.path.is_dir():
            nameless = alone or self.path == Path()
            prefix = "" if nameless else self.path.as_posix().rstrip("/") + "/"
            yield from walker.folder(self.path, prefix)
        elif is_tar(self.path.name) or walker.patterns.takes(self.path.as_posix()):
            yield ImageFile(self.path.absolute(), self.path.as_posix())

    def check(self, patterns: Patterns, *, hidden: bool) -> None:
        """Raise TwlError where there is nothing to find."""
        if self.glob is None:
            if not os.path.lexists(self.path):
                raise TwlError(f"{self.path}: no such file or folder")
            if not self.path.is_dir():
                return
        walker = Walker(patterns, hidden=hidden)
        if next(self.find(walker, alone=True), None) is not None:
            return
        if self.glob is not None:
            raise TwlError(f"{self.glob}: matches no images and no .tar")
        hint = "" if patterns.are_empty else " match the patterns"
        if any(map(is_tar, os.listdir(self.path))):  # noqa: PTH208  names are wanted
            hint += f"; for those inside its tars name them: '{self.path / '*.tar'}'"
        hint += "".join(f"; {line}" for line in walker.left_out.lines())
        raise TwlError(f"{self.path}: no images in this folder{hint}")


def _scan(
    roots: Sequence[_Root | StoredRoot], walker: Walker, *, alone: bool
) -> Iterator[ImageFile]:
    for root in roots:
        for file in root.find(walker, alone=alone):
            yield from _opened(file, walker)


def _opened(file: ImageFile, walker: Walker) -> Iterator[ImageFile]:
    """The file itself, or the images in a tar."""
    if file.failure is not None or not is_tar(file.name):
        yield file
        return
    found = members(
        file.path,
        file.name,
        hidden=walker.hidden,
        left_out=walker.left_out,
        stored=file.stored,
    )
    for member in found:
        if member.byte_range is None or walker.patterns.takes(member.name[len(file.name) + 1 :]):
            yield member


def _listed(
    lists: Sequence[Path | str], walker: Walker, *, null: bool, standard_input: BinaryIO | None
) -> Iterator[ImageFile]:
    for each in lists:
        if str(each) == STANDARD_INPUT:
            assert standard_input is not None
            names = read_list(standard_input, source="standard input", null=null)
            yield from _named(names, walker)
            continue
        try:
            with Path(each).open("rb") as file:
                yield from _named(read_list(file, source=str(each), null=null), walker)
        except OSError as error:
            raise TwlError(f"{each}: cannot be read ({error.strerror or error})") from error


def _named(names: Iterator[str], walker: Walker) -> Iterator[ImageFile]:
    for text in names:
        if is_address(text):
            from twlcli.images.discover.remote import named_in_list

            image = named_in_list(text)
            if is_tar(image.name) or walker.patterns.takes(image.name):
                yield from _opened(image, walker)
            continue
        path = Path(text)
        name = path.as_posix()
        if is_tar(name) or walker.patterns.takes(name):
            yield from _opened(ImageFile(path.absolute(), name, _failure(text)), walker)


def _failure(path: str) -> str | None:
    """Why a file that a list names cannot be read, as far as its status tells."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116  Path objects double the time of a scan
    except FileNotFoundError:
        return "no such file"
    except (OSError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
    if stat.S_ISDIR(mode):
        return "is a folder; a list names files"
    return None if stat.S_ISREG(mode) else f"not a file ({stat.filemode(mode)})"


def _once(files: Iterator[ImageFile]) -> Iterator[ImageFile]:
    """Each file where it comes first, though reached over different links to its folder."""
    real_folder = lru_cache(1024)(os.path.realpath)
    seen = CompactSet()
    for file in files:
        if file.stored is not None:
            if seen.adds((file.name, file.byte_range and file.byte_range.offset)):
                yield file
            continue
        folder, name = os.path.split(file.path)
        if seen.adds((real_folder(folder), name, file.byte_range and file.byte_range.offset)):
            yield file
