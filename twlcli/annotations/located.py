"""Finding images whose names lack an ending, or that lie in a folder below the label file's."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from twlcli.annotations.annotations import Annotations
from twlcli.errors import AnnotationError
from twlcli.images.image_file import is_image

SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")

_TRIED = 20  # images, spread over the file, that show where all of them lie
_FOLDERS = 200  # searched at most, in two levels


def located(annotations: Annotations) -> Annotations:
    """The annotations with the paths by which their images are found.

    Where none of some images exists as it is written, they may lack `.jpg`, `.jpeg` or `.png`, or
    all lie in one folder below `annotations.root`, such as `images/`. If so, a note says it. If
    one exists, or they are found nowhere or in several folders, nothing is changed.
    """
    step = max(len(annotations) // _TRIED, 1)
    tried = annotations.images[::step][:_TRIED]
    if any(_exists(annotations.root / image) for image in tried):
        return annotations
    if any(image.startswith("/") for image in tried):
        return annotations
    finders = [_Finder(annotations.root, folder) for folder in _folders_below(annotations.root)]
    fitting = [each for each in finders if all(each.find(image) for image in tried)]
    if not fitting or (len(fitting) > 1 and fitting[0].folder):
        return annotations
    finder = fitting[0]  # the root, or the only one
    images = tuple(finder.find(image) or image for image in annotations.images)
    if len(set(images)) < len(images):  # a and a.jpg, which would become one
        return annotations
    note = _note(annotations.images, images, finder.folder)
    return replace(annotations, images=images, notes=(*annotations.notes, note))


def with_extension(annotations: Annotations, extension: str) -> Annotations:
    """The annotations with an ending, such as `.jpg`, at names of images that have none.

    Raises:
        AnnotationError: it is no ending of an image, or makes one name of two.
    """
    ending = f".{extension.removeprefix('.')}"
    if not is_image(f"a{ending}"):
        raise AnnotationError(f"'{extension}' is no ending of image files, such as .jpg")
    images = tuple(image if is_image(image) else f"{image}{ending}" for image in annotations.images)
    if len(set(images)) < len(images):
        twice = next(image for image, count in Counter(images).items() if count > 1)
        raise AnnotationError(f"{annotations.source}: '{twice}' is named with and without {ending}")
    return replace(annotations, images=images)


class _Finder:
    """Finds images in a folder below a root; lists each folder once."""

    def __init__(self, root: Path, folder: str) -> None:
        self._root = root
        self.folder = folder
        self._names: dict[str, frozenset[str]] = {}

    def find(self, image: str) -> str | None:
        """The path of an image; None if it is not there."""
        folder, slash, name = f"{self.folder}{image}".rpartition("/")
        if folder not in self._names:
            self._names[folder] = _file_names(self._root / folder)
        endings = ("",) if is_image(name) else SUFFIXES
        return next(
            (
                f"{folder}{slash}{name}{ending}"
                for ending in endings
                if f"{name}{ending}" in self._names[folder]
            ),
            None,
        )


def _folders_below(root: Path) -> list[str]:
    """The root, as an empty path, and folders in it and in these; each ends with `/`."""
    folders = [""]
    for level in (1, 2):
        for above in [each for each in folders if each.count("/") == level - 1]:
            folders += [f"{above}{name}/" for name in _folder_names(root / above)]
            if len(folders) > _FOLDERS:
                return folders[:_FOLDERS]
    return folders


def _folder_names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(each.name for each in entries if each.is_dir() and each.name[0] != ".")
    except (OSError, ValueError):
        return []


def _file_names(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208  names are what is wanted
    except (OSError, ValueError):
        return frozenset()


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110  False for what is no path


def _note(before: Sequence[str], after: Sequence[str], folder: str) -> str:
    place = f"in {folder.rstrip('/')}" if folder else ""
    row = next(row for row, image in enumerate(after) if image != before[row])
    suffix = after[row].removeprefix(f"{folder}{before[row]}")
    ending = f"with the ending {suffix}" if suffix else ""
    how = " and ".join(filter(None, (place, ending)))
    return f"images were found {how}, such as '{after[row]}'"
