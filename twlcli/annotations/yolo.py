"""Data sets for YOLO: boxes in text files, in folders `labels` beside folders `images`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import SPLIT_NAMES, AnnotationBuilder
from twlcli.annotations.encoding import read_text
from twlcli.annotations.folders import walk
from twlcli.annotations.label_names import LabelNames
from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.errors import AnnotationError
from twlcli.images.image_file import is_image

# A class number and a box in fractions, `0 0.51 0.42 0.2 0.33`, or the corners of a polygon.
BOX_LINE = re.compile(r"\d+(\s+([01]?\.\d+|[01]\.?)){4,}")

_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml", "classes.txt")
_TRIED = 20  # text files that show what they hold


def is_yolo(path: Path) -> bool:
    """Whether a folder has text files with boxes in `labels` beside `images`, or a file tells so.

    That file is the `data.yaml` of such a folder.
    """
    if not path.is_dir():
        return path.suffix.lower() in (".yaml", ".yml") and is_yolo(path.parent)
    texts = [text for _, text in _pairs(path) if text is not None][:_TRIED]
    lines = [line for text in texts for line in read_text(text).splitlines() if line.strip()]
    return bool(lines) and all(BOX_LINE.fullmatch(line.strip()) for line in lines)


def read_yolo(path: Path, options: ReadOptions = DEFAULTS) -> Annotations:
    """Read images with boxes: the labels of an image are the classes of its boxes.

    Images lie in a folder `images`, at any depth, and their text files at the same place below
    `labels` beside it, as in `images/train/a.jpg` and `labels/train/a.txt`, or `train/images/a.jpg`
    and `train/labels/a.txt`. An image without a text file, or with an empty one, has no boxes and
    so no labels. A folder named after a split gives the split. The classes' names stand in
    `data.yaml` or `classes.txt`, or in the file that the options name; without, numbers are labels.

    Args:
        path: the folder, or the `data.yaml` in it.
        options: `names` is used.

    Raises:
        AnnotationError: there are no such files, a line is no box, or a class has no name.
    """
    folder = path if path.is_dir() else path.parent
    builder = AnnotationBuilder(path, format_name="yolo", root=folder)
    names = _names(path, options)
    if names is None:
        builder.note("the classes' numbers became labels; a file can name them")
    else:
        builder.declare(names, line=None)
    without = 0
    for image, text in _pairs(folder):
        classes = [] if text is None else list(_classes(text, names))
        without += text is None
        builder.add(image, builder.columns(classes), split=_split(image))
    if not len(builder):
        raise AnnotationError(f"{path}: expected folders 'images' and 'labels'")
    if without:
        builder.note(f"images without a text file were read as images without labels: {without:,}")
    return builder.finish()


def _names(path: Path, options: ReadOptions) -> LabelNames | None:
    folder = path if path.is_dir() else path.parent
    if options.names is not None:
        return LabelNames.read(Path(options.names))
    if path.is_file():
        return LabelNames.read(path)
    found = (folder / name for name in _NAMES)
    file = next((each for each in found if each.is_file()), None)
    return None if file is None else LabelNames.read(file)


def _pairs(folder: Path) -> Iterator[tuple[str, Path | None]]:
    """Each image below a folder `images`, and its text file if it has one."""
    texts: dict[str, frozenset[str]] = {}
    for relative, names in walk(folder):
        parts = relative.split("/")[:-1]
        if "images" not in parts:
            continue
        last = len(parts) - 1 - parts[::-1].index("images")
        beside = "/".join([*parts[:last], "labels", *parts[last + 1 :]])
        if beside not in texts:
            texts[beside] = _texts_in(folder / beside)
        for name in filter(is_image, names):
            text = f"{PurePosixPath(name).stem}.txt"
            yield f"{relative}{name}", folder / beside / text if text in texts[beside] else None


def _texts_in(folder: Path) -> frozenset[str]:
    if not folder.is_dir():
        return frozenset()
    return frozenset(each.name for each in folder.iterdir() if each.suffix == ".txt")


def _classes(path: Path, names: LabelNames | None) -> Iterator[str]:
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        line = line.strip()
        if not line:
            continue
        if not BOX_LINE.fullmatch(line):
            message = f"'{line[:60]}' is no box; expected a class number and fractions"
            raise AnnotationError.at(path, number, message)
        text = line.split(maxsplit=1)[0]
        try:
            yield text if names is None else names.name(text)
        except ValueError as error:
            raise AnnotationError.at(path, number, str(error)) from None


def _split(image: str) -> str:
    folders = image.split("/")[:-1]
    return next((each for each in folders if each.casefold() in SPLIT_NAMES), "")
