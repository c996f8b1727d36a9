"""Images that a label file names and that are not there."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.located import plain_key
from twlcli.annotations.names import Names
from twlcli.errors import AnnotationError

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def find_missing_images(annotations: Annotations) -> NDArray[np.int64]:
    """The rows whose image file does not exist, ascending.

    Every folder is listed once instead of asking for each file: a million images take seconds,
    also on network drives. A name that is not in the listing is asked for singly, as some file
    systems find it under other letter case or Unicode form.
    """
    names_in: dict[str, frozenset[str] | None] = {}
    root = str(annotations.root)
    missing = []
    for row, image in enumerate(annotations.images):
        folder, _, name = image.rpartition("/")
        if image.startswith("/") and not folder:
            folder = "/"
        if folder not in names_in:
            names_in[folder] = _file_names(os.path.join(root, folder))  # noqa: PTH118
        names = names_in[folder]
        if names is None or (name not in names and not _is_file(annotations.path(row))):
            missing.append(row)
    return np.array(missing, dtype=np.int64)


def check_images(annotations: Annotations) -> None:
    """Check that every image's file exists.

    Raises:
        AnnotationError: names the first missing image with its place in the label file, the path
            looked for, and how many others are missing.
    """
    missing = find_missing_images(annotations)
    if len(missing):
        all_missing = len(missing) == len(annotations) > 1
        raise AnnotationError.at(
            *annotations.place(missing[0]),
            _missing_message(annotations, missing),
            hint="name their folder with {images}" if all_missing else "",
        )


def with_forward_slashes(annotations: Annotations) -> Annotations:
    r"""The annotations with `photos\a.jpg` as `photos/a.jpg`, where that is what the file means.

    On Windows it always is. Elsewhere a backslash may be part of a name, so the first path that
    has one decides: all are changed if it exists with forward slashes and not as it is written.
    """
    if not Names.of(annotations.images).may_hold("\\"):
        return annotations
    first = next((image for image in annotations.images if "\\" in image), None)
    if first is None:
        return annotations
    if os.sep == "/":
        there = [
            os.path.exists(annotations.root / each)  # noqa: PTH110  False for what is no path
            for each in (first, first.replace("\\", "/"))
        ]
        if there != [False, True]:
            return annotations
    images = tuple(image.replace("\\", "/") for image in annotations.images)
    note = "backslashes in image paths were read as forward slashes"
    return replace(annotations, images=images, notes=(*annotations.notes, note))


def _file_names(folder: str) -> frozenset[str] | None:
    """The names of the files in a folder; None where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if _is_file(entry))
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last: NUL, surrogates
        return None
    except OSError:  # not to be listed, but its files may be open to whoever knows their names
        return frozenset()


def _is_file(path: os.DirEntry[str] | Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a link to itself, too long a name, NUL or surrogates in it
        return False


def _missing_message(annotations: Annotations, missing: NDArray[np.int64]) -> str:
    row = int(missing[0])
    path = annotations.path(row)
    if _ADDRESS.match(annotations.images[row]):
        message = f"image '{annotations.images[row]}' is an address; images are read from files"
    else:
        message = f"image '{annotations.images[row]}' is missing (looked for {path})"
    if len(missing) == len(annotations) > 1:
        message += f", and so are all {len(missing):,} images"
    elif len(missing) > 1:
        message += f", and {len(missing) - 1:,} more of {len(annotations):,} are"
    names = _file_names(str(path.parent)) or frozenset()
    like = min((name for name in names if _is_like(name, path.name)), default=None)
    return message + (f"; there is '{like}'" if like else "")


def _is_like(name: str, wanted: str) -> bool:
    """Whether names differ only in letter case, Unicode form, ending or zeros before numbers."""
    stems = [plain_key(each).rpartition(".")[0] or plain_key(each) for each in (name, wanted)]
    first, second = (re.sub(r"(?<!\d)0+(?=\d)", "", stem) for stem in stems)
    return first == second
