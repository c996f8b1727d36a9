"""Finding images whose paths are those of another place or machine, or lack an ending."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from twlcli.annotations.annotations import Annotations
from twlcli.errors import AnnotationError
from twlcli.images.image_file import is_image

SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")

_TRIED = 20  # images, spread over the file, that show where all of them lie
_FOLDERS = 200  # searched at most, in two levels
_DEPTH = 12  # folders that may stand before the part of a path that is right

Find = Callable[[str], str | None]


def located(annotations: Annotations) -> Annotations:
    """The annotations with the paths by which their images are found.

    Where none of some images exists as it is written, they are looked for below `annotations.root`:
    with `.jpg`, `.jpeg` or `.png` added; by the ends of their paths, which may be addresses or
    those of another machine; in one folder, such as `images/`; and at last each in whichever
    folder has the only file of its name. Letter case, Unicode form and blanks around a name may
    differ. If all are found, a note says where. If one exists, or one is not found or in several
    places, nothing is changed.
    """
    step = max(len(annotations) // _TRIED, 1)
    tried = annotations.images[::step][:_TRIED]
    if any(_exists(annotations.root / image) for image in tried):
        return annotations
    find = _way(annotations.root, tried)
    if find is None:
        return annotations
    images = tuple(find(image) or image for image in annotations.images)
    if len(set(images)) < len(images):  # a and a.jpg, which would become one
        return annotations
    return replace(annotations, images=images).with_note(_note(annotations.images, images))


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


def plain_key(name: str) -> str:
    """A file's name as it is compared where it is not there as it is written.

    Example:
        >>> plain_key(" A.JPG") == plain_key("a.jpg")
        True
    """
    return unicodedata.normalize("NFC", name.strip()).casefold()


def _way(root: Path, tried: Sequence[str]) -> Find | None:
    """The one way in which all of some images are found."""
    finders = [_Finder(root, folder) for folder in _folders_below(root)]
    for depth in range(_DEPTH):
        if not any(_end(image, depth) for image in tried):
            break
        fitting = [each for each in finders if all(_found(each, depth, image) for image in tried)]
        if fitting and (len(fitting) == 1 or not fitting[0].folder):  # the root, or the only one
            return partial(_found, fitting[0], depth)
        if fitting:
            return None

    def anywhere(image: str) -> str | None:
        name = _path(image).rpartition("/")[2]
        found = {path for each in finders if (path := each.find(name))}
        return found.pop() if len(found) == 1 else None

    return anywhere if all(map(anywhere, tried)) else None


def _found(finder: _Finder, depth: int, image: str) -> str | None:
    return finder.find(_end(image, depth))


def _path(image: str) -> str:
    r"""A path with forward slashes; of an address what comes behind the server.

    Example:
        >>> _path(r"C:\data\a.jpg"), _path("https://x.org/p/a%20b.jpg?w=3")
        ('C:/data/a.jpg', 'p/a b.jpg')
    """
    if "://" in image:
        try:
            image = unquote(urlsplit(image).path)
        except ValueError:
            return image
    return image.strip().replace("\\", "/").lstrip("/")


def _end(image: str, depth: int) -> str:
    """A path without so many folders before it; empty where it has fewer."""
    return "/".join(_path(image).split("/")[depth:])


class _Finder:
    """Finds images in a folder below a root; lists each folder once."""

    def __init__(self, root: Path, folder: str) -> None:
        self._root = root
        self.folder = folder
        self._names: dict[str, dict[str, str | None]] = {}

    def find(self, image: str) -> str | None:
        """The path of an image; None if it is not there, or may be one of several."""
        folder, slash, name = f"{self.folder}{image}".rpartition("/")
        if not name:
            return None
        if folder not in self._names:
            self._names[folder] = _file_names(self._root / folder)
        names = self._names[folder]
        endings = ("",) if is_image(name.strip()) else SUFFIXES
        written = [f"{name}{ending}" for ending in endings]
        keys = [plain_key(each) for each in written]
        found = next((there for each in (*written, *keys) if (there := names.get(each))), None)
        return found and f"{folder}{slash}{found}"


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


def _file_names(folder: Path) -> dict[str, str | None]:
    """The names of files by themselves, and by `plain_key` where they are the only one of it."""
    try:
        names = os.listdir(folder)  # noqa: PTH208  names are what is wanted
    except (OSError, ValueError):
        return {}
    keys = Counter(map(plain_key, names))
    alike: dict[str, str | None] = {
        plain_key(name): name if keys[plain_key(name)] == 1 else None for name in names
    }
    return alike | {name: name for name in names}


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110  False for what is no path


def _note(before: Sequence[str], after: Sequence[str]) -> str:
    row = next(row for row, image in enumerate(after) if image != before[row])
    old, new = before[row], after[row]
    folder, at, rest = new.partition(old)
    if not at or not (folder == "" or folder.endswith("/")):
        return f"images were found by other paths, such as '{new}' for '{old}'"
    place = f"in {folder.rstrip('/')}" if folder else ""
    ending = f"with the ending {rest}" if rest else ""
    how = " and ".join(filter(None, (place, ending)))
    return f"images were found {how}, such as '{new}'"
