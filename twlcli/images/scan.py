"""Finds image files in folders, one at a time."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from twlcli.annotations.folders import is_image
from twlcli.errors import TwlError


@dataclass(frozen=True, slots=True)
class FoundFile:
    """An image file, or what stands where one was looked for.

    Attributes:
        path: absolute path.
        name: what the file is called in outputs, with forward slashes.
        failure: why it cannot be read, where that is known already; for a folder that cannot be
            listed the name ends with a slash.
    """

    path: Path
    name: str
    failure: str | None = None


def scan(paths: Iterable[Path | str], *, hidden: bool = False) -> Iterator[FoundFile]:
    """Walk files and folders, in the order given, folders recursively and sorted by name.

    A file that is given is taken whatever its name; inside folders the extension decides. A file
    in a folder is named relative to that folder. Where several paths are given, its name starts
    with the folder as given, so that names stay distinct. Each real directory is visited once,
    so that links that lead in circles end. Memory grows with the largest folder, not with the tree.

    Args:
        paths: files and folders.
        hidden: also take files and folders whose name starts with a dot.

    Yields:
        Image files, and what could not be read with its `failure`.

    Raises:
        TwlError: a path does not exist, or a folder holds no images. Raised before the first file.
    """
    roots = [Path(path) for path in paths]
    for root in roots:
        if not root.exists() and not root.is_symlink():
            raise TwlError(f"{root}: no such file or folder")
        if root.is_dir() and next(_walk(root, "", hidden=hidden, visited=set()), None) is None:
            raise TwlError(f"{root}: no images in this folder")
    return _scan(roots, hidden=hidden)


def _scan(roots: list[Path], *, hidden: bool) -> Iterator[FoundFile]:
    visited: set[tuple[int, int]] = set()
    for root in roots:
        if root.is_dir():
            alone = len(roots) == 1 or root == Path()
            prefix = "" if alone else root.as_posix().rstrip("/") + "/"
            yield from _walk(root, prefix, hidden=hidden, visited=visited)
        else:
            yield FoundFile(root.absolute(), root.as_posix())


def _walk(
    root: Path, prefix: str, *, hidden: bool, visited: set[tuple[int, int]]
) -> Iterator[FoundFile]:
    waiting = [(str(root.absolute()), prefix)]
    while waiting:
        folder, prefix = waiting.pop()
        try:
            status = os.stat(folder)  # noqa: PTH116  Path objects double the time of a scan
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            files, folders = _list(folder, hidden=hidden)
        except OSError as error:
            reason = f"folder cannot be read ({error.strerror or error})"
            yield FoundFile(Path(folder), prefix or ".", reason)
            continue
        for name, failure in files:
            yield FoundFile(Path(folder, name), prefix + name, failure)
        for name in reversed(folders):
            waiting.append((os.path.join(folder, name), f"{prefix}{name}/"))  # noqa: PTH118


def _list(folder: str, *, hidden: bool) -> tuple[list[tuple[str, str | None]], list[str]]:
    """The image files of one folder with their failures, and its folders, both sorted."""
    files: list[tuple[str, str | None]] = []
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") and not hidden:
                continue
            if _is_folder(entry):
                folders.append(entry.name)
            elif is_image(entry.name):
                files.append((entry.name, _failure(entry)))
    return sorted(files), sorted(folders)


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
