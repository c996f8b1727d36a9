"""Data sets for YOLO: text files with boxes, in folders `labels` beside folders `images`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import SPLIT_NAMES, AnnotationBuilder
from twlcli.annotations.encoding import read_text, readable
from twlcli.annotations.folders import walk
from twlcli.annotations.label_names import LabelNames
from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.annotations.yolo_splits import Splits, splits_of
from twlcli.errors import AnnotationError
from twlcli.images.image_file import is_image
from twlcli.labels import some_of

_YAML = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_NAMES = ("classes.txt", "labels/classes.txt", "obj.names")
_HAS_NAMES = re.compile(r"^names ?:", re.MULTILINE)
_HAS_SPLITS = re.compile(r"^(train|val) ?:", re.MULTILINE)

_CLASS = re.compile(r"(\d+)(\.0+)?")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_LEAST, _MOST = -0.5, 1.5  # a box may reach a little over the edge of its image


def is_yolo(path: Path) -> bool:
    """Whether a folder has a folder `labels` beside `images`, or YAML that describes a data set.

    A folder `labels` with masks or tables in it is none. The YAML file may be given itself.
    """
    if not path.is_dir():
        return path.suffix.lower() in (".yaml", ".yml")
    if _yaml_in(path) is not None:
        return True
    with_images = (folder for folder, names in walk(path) if any(map(is_image, names)))
    above = {
        folder[: at + len("images/")] for folder in with_images if (at := _images_at(folder)) >= 0
    }
    return any(_may_hold_boxes(path / _beside(folder)) for folder in above)


def _may_hold_boxes(labels: Path) -> bool:
    """Whether a folder holds text files, or nothing at all."""
    names = [name for _, names in walk(labels) for name in names] if labels.is_dir() else [""]
    texts = any(name.endswith(".txt") for name in names)
    return not names or (texts and not any(map(is_image, names)))


def is_box_line(line: str) -> bool:
    """Whether a line is a class number and a box in fractions, or the corners of a polygon.

    More numbers may follow, such as those of a pose or a track.

    Example:
        >>> [is_box_line(line) for line in ("0 0.51 0.42 1e-05 0.33", "0 34 50 12 9", "1 2 dogs")]
        [True, False, False]
    """
    parts = line.split()
    return (
        len(parts) > 4
        and bool(_CLASS.fullmatch(parts[0]))
        and all(map(_NUMBER.fullmatch, parts[1:]))
        and all(_LEAST <= float(part) <= _MOST for part in parts[1:5])
    )


def read_yolo(path: Path, options: ReadOptions = DEFAULTS) -> Annotations:
    """Read images with boxes: the labels of an image are the classes of its boxes.

    Images lie in a folder `images`, at any depth, and their text files at the same place below
    `labels` beside it, as in `images/train/a.jpg` and `labels/train/a.txt`, or `train/images/a.jpg`
    and `train/labels/a.txt`. An image without a text file, or with an empty one, has no boxes and
    so no labels. The splits are those of `data.yaml` (`train`, `val` and `test`: folders, lists of
    images in text files, or lists of either), and images in none of them are left out; without any,
    a folder named after a split gives it. The classes' names stand in `data.yaml` or
    `classes.txt`, or in the file that the options name; without, numbers are labels.

    Args:
        path: the folder, or its YAML file.
        options: `names` is used.

    Raises:
        AnnotationError: there are no such files, a line is no box, a class has no name, no image
            has a box, or a split names what is not there.
    """
    folder, yaml = (path, _yaml_in(path)) if path.is_dir() else (path.parent, path)
    builder = AnnotationBuilder(path, format_name="yolo", root=folder)
    names = _names(folder, yaml, options)
    if names is None:
        builder.note("the classes' numbers became labels; a file can name them")
    else:
        builder.declare(names, line=None)
    splits = None if yaml is None else splits_of(yaml)
    images = _images_below(folder) if splits is None else splits.images()
    texts = _Texts(folder)
    without = boxes = 0
    for image, split in images:
        text = texts.of(image)
        classes = [] if text is None else list(_classes(text, names))
        without += text is None
        boxes += bool(classes)
        builder.add(image, builder.columns(classes), split=split)
    if not len(builder):
        raise AnnotationError(f"{path}: expected folders 'images' and 'labels'")
    left_over = texts.left_over(folder) if splits is None else []
    if not boxes:
        lost = f"; text files that belong to no image: {some_of(left_over)}" if left_over else ""
        raise AnnotationError(f"{path}: no image has a text file with a box{lost}")
    _add_notes(builder, splits, without, left_over)
    return builder.finish()


def _add_notes(
    builder: AnnotationBuilder, splits: Splits | None, without: int, left_over: list[str]
) -> None:
    for note in () if splits is None else splits.notes:
        builder.note(note)
    if without:
        builder.note(f"images without a text file were read as images without labels: {without:,}")
    if left_over:
        builder.note(
            f"text files that belong to no image: {len(left_over):,}, such as {left_over[0]}"
        )


def _yaml_in(folder: Path) -> Path | None:
    """The YAML file that describes the data set in a folder."""
    with readable(folder):
        others = sorted(
            each.name for each in folder.iterdir() if each.suffix.lower() in (".yaml", ".yml")
        )
    for name in dict.fromkeys([*_YAML, *others]):
        file = folder / name
        if not file.is_file():
            continue
        text = read_text(file)
        told = [bool(sign.search(text)) for sign in (_HAS_NAMES, _HAS_SPLITS)]
        if all(told) or (name in _YAML and any(told)):
            return file
    return None


def _names(folder: Path, yaml: Path | None, options: ReadOptions) -> LabelNames | None:
    if options.names is not None:
        return LabelNames.read(Path(options.names))
    if yaml is not None and _HAS_NAMES.search(read_text(yaml)):
        return LabelNames.read(yaml)
    file = next((folder / name for name in _NAMES if (folder / name).is_file()), None)
    return None if file is None else LabelNames.read(file)


def _images_below(folder: Path) -> Iterator[tuple[str, str]]:
    """Each image below a folder `images`, with its split by the names of folders."""
    for relative, names in walk(folder):
        parts = relative.split("/")[:-1]
        if "images" in parts:
            split = next((each for each in parts if each.casefold() in SPLIT_NAMES), "")
            for name in filter(is_image, names):
                yield f"{relative}{name}", split


def _images_at(folder: str) -> int:
    """Where the last folder `images` begins in a path that ends with `/`; -1 if there is none."""
    return f"/{folder}".rfind("/images/")


def _beside(folder: str) -> str:
    """The folder of the text files of the images in a folder, which ends with `/`.

    It is `labels` instead of the last `images`; the same folder where there is none.

    Example:
        >>> _beside("images/train/"), _beside("photos/")
        ('labels/train/', 'photos/')
    """
    at = _images_at(folder)
    return folder if at < 0 else f"{folder[:at]}labels/{folder[at + len('images/') :]}"


@dataclass
class _Texts:
    """The text files of images; lists each folder once."""

    root: Path
    names: dict[str, frozenset[str]] = field(default_factory=dict)
    found: set[str] = field(default_factory=set)

    def of(self, image: str) -> Path | None:
        """The text file of an image, if it has one."""
        folder, slash, name = image.rpartition("/")
        beside = _beside(f"{folder}{slash}")
        if beside not in self.names:
            place = self.root / beside
            there = place.iterdir() if place.is_dir() else ()
            self.names[beside] = frozenset(each.name for each in there if each.suffix == ".txt")
        text = f"{name.rpartition('.')[0]}.txt"
        if text not in self.names[beside]:
            return None
        self.found.add(f"{beside}{text}")
        return self.root / beside / text

    def left_over(self, folder: Path) -> list[str]:
        """The text files below a folder `labels` that were not asked for."""
        return [
            text
            for relative, names in walk(folder)
            if "labels" in relative.split("/")
            for name in names
            if name.endswith(".txt")
            and (text := f"{relative}{name}") not in self.found
            and text not in _NAMES
        ]


def _classes(path: Path, names: LabelNames | None) -> Iterator[str]:
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        line = line.strip()
        if not line:
            continue
        if not is_box_line(line):
            message = f"'{line[:60]}' is no box; expected a class number and fractions"
            raise AnnotationError.at(path, number, message)
        found = _CLASS.fullmatch(line.split(maxsplit=1)[0])
        assert found is not None
        try:
            yield found[1] if names is None else names.name(found[1])
        except ValueError as error:
            raise AnnotationError.at(path, number, str(error)) from None
