"""Folders of photographs: how they are walked, and the layout with one folder per class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import SPLIT_NAMES, AnnotationBuilder
from twlcli.annotations.encoding import readable
from twlcli.errors import AnnotationError
from twlcli.images.image_file import is_image

MAX_WAYS = 1000  # to the same folder, over links

_Identity = tuple[int, int]  # of a folder: its device and its number there


def walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Each folder at or below `folder` with its files' names, in alphabetical order.

    Folders come as paths relative to `folder`: empty for itself, else ending with `/`. Names that
    begin with a dot are left out. Links to folders are followed, but never back up into a folder
    that contains them.

    Raises:
        AnnotationError: a folder cannot be read, or links lead to one in more than `MAX_WAYS` ways:
            those among ten folders do so in millions.
    """
    waiting: list[tuple[Path, str, frozenset[_Identity]]] = [(folder, "", frozenset())]
    ways: Counter[_Identity] = Counter()
    while waiting:
        path, relative, above = waiting.pop()
        with readable(path):
            status = path.stat()
            identity = (status.st_dev, status.st_ino)
            if identity in above:
                continue
            ways[identity] += 1
            if ways[identity] > MAX_WAYS:
                raise AnnotationError(f"{path}: links lead here in more than {MAX_WAYS:,} ways")
            with os.scandir(path) as entries:
                visible = sorted((e for e in entries if e.name[0] != "."), key=lambda e: e.name)
                folders = {entry.name: None for entry in visible if _is_folder(entry)}
        yield relative, [entry.name for entry in visible if entry.name not in folders]
        inside = above | {identity}
        waiting += [(path / name, f"{relative}{name}/", inside) for name in reversed(folders)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def is_folders(path: Path) -> bool:
    """Whether a folder has sub-folders that hold photographs."""
    return path.is_dir() and any(
        relative and any(map(is_image, names)) for relative, names in walk(path)
    )


def read_folders(path: Path) -> Annotations:
    """Read `CLASS/a.jpg`, or `train/CLASS/a.jpg` and `val/CLASS/b.jpg`: one label per photograph.

    The immediate sub-folder is the label; photographs may lie deeper inside it. Where every
    sub-folder with photographs is named after a split, the next level are the labels.

    Raises:
        AnnotationError: no photograph lies in a class's folder, or one lies in a split's folder
            outside all classes.
    """
    found = [
        (relative.split("/")[:-1], relative, name)
        for relative, names in walk(path)
        for name in names
        if is_image(name)
    ]
    inside = [parts for parts, _, _ in found if parts]
    if not inside:
        raise AnnotationError(f"{path}: no photograph lies in a sub-folder named after its class")
    by_split = all(parts[0].casefold() in SPLIT_NAMES for parts in inside)
    builder = AnnotationBuilder(path, format_name="folders", root=path)
    for parts, relative, name in found:
        if not parts:
            continue
        if by_split and len(parts) < 2:
            message = f"lies in no class's folder; expected {relative}CLASS/{name}"
            raise AnnotationError(f"{path / relative / name}: {message}")
        label = parts[1] if by_split else parts[0]
        split = parts[0] if by_split else ""
        builder.add(f"{relative}{name}", builder.columns([label]), split=split)
    if outside := len(found) - len(inside):
        builder.note(f"photographs left out, as they lie in no class's folder: {outside:,}")
    return builder.finish()
