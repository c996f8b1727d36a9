"""The layout with one folder per class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import SPLIT_NAMES, AnnotationBuilder
from twlcli.errors import AnnotationError
from twlcli.images.discover.walk import walk_folders
from twlcli.images.image_file import is_image


def walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Each folder at or below `folder` with its files' names; see `walk_folders`.

    Raises:
        AnnotationError: a folder cannot be read, or links lead to one in too many ways.
    """
    try:
        yield from walk_folders(folder)
    except FileNotFoundError as error:
        raise AnnotationError(f"{error.filename}: no such file or folder") from None
    except OSError as error:
        raise AnnotationError(f"{error.filename}: cannot be read ({error.strerror})") from error


def is_folders(path: Path) -> bool:
    """Whether a folder has sub-folders that hold images."""
    return path.is_dir() and any(
        relative and any(map(is_image, names)) for relative, names in walk(path)
    )


def read_folders(path: Path) -> Annotations:
    """Read `CLASS/a.jpg`, or `train/CLASS/a.jpg` and `val/CLASS/b.jpg`: one label per image.

    The immediate sub-folder is the label; images may lie deeper inside it. Where every
    sub-folder with images is named after a split, the next level are the labels.

    Raises:
        AnnotationError: no image is in a class folder, or one is in a split's folder
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
        raise AnnotationError(f"{path}: no image is in a sub-folder named after its class")
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
        builder.note(f"images left out because they are in no class folder: {outside:,}")
    return builder.finish()
