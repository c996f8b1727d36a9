"""Text files beside images, as taggers and captioning tools write them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import SPLIT_NAMES, AnnotationBuilder
from twlcli.annotations.encoding import read_text
from twlcli.annotations.folders import has_class_folders, text_beside, walk
from twlcli.annotations.list_cells import cell_splitter, json_names
from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.annotations.separators import JSON_LIST, find_separator
from twlcli.annotations.yolo import is_box_line
from twlcli.errors import AnnotationError
from twlcli.images.image_file import is_image
from twlcli.labels import some_of

_LIST = re.compile(r"""\[\s*(["']).*\1\s*\]""")


def is_sidecars(path: Path) -> bool:
    """Whether images at or below a folder have text files beside them.

    Where there is a folder for each class, half of the images must have one.
    """
    if not path.is_dir():
        return False
    with_text, without = Counter[str](), Counter[str]()
    for folder, _, sidecar in _images_of(path):
        (with_text if sidecar else without)[folder] += 1
    if not with_text or with_text.total() >= without.total():
        return bool(with_text)
    return not has_class_folders([*with_text, *without])


def read_sidecars(path: Path, options: ReadOptions = DEFAULTS) -> Annotations:
    """Read images with tags in `a.txt` or `a.jpg.txt` beside `a.jpg`, at any depth.

    Tags are separated by commas and line breaks, or by `separator` and line breaks; by blanks where
    no comma occurs and the lines are lists of words (see `separators.blanks_separate`). An empty
    text file is an image without labels; an image without a text file is left out. Where the
    topmost folder is named after a split (`train`, `val`, …), that is the image's split.

    Raises:
        AnnotationError: no image has a text file, or one holds boxes instead of tags.
    """
    builder = AnnotationBuilder(path, format_name="sidecars", root=path)
    separator = options.separator
    if separator is None:
        found = find_separator(  # a tag may begin with a bracket, and be of several words
            _lines(path), of=path, separators=(",",), may_be_list=False, least_cells=3
        )
        for note in found.notes:
            builder.note(note)
        separator = found.text
    builder.whole_numbers = separator != JSON_LIST
    split_line = cell_splitter(separator)
    left_out, twice = 0, list[str]()
    for folder, name, sidecar in _images_of(path):
        if sidecar is None:
            left_out += 1
            continue
        if _has_another(path / folder, name, sidecar):
            twice.append(f"{folder}{sidecar}")
        top = PurePosixPath(folder).parts[:1]
        split = top[0] if top and top[0].casefold() in SPLIT_NAMES else ""
        tags = list(_tags(path / folder / sidecar, split_line))
        builder.add(f"{folder}{name}", builder.columns(tags), split=split)
    if not len(builder):
        raise AnnotationError(f"{path}: no image has a text file beside it")
    if twice:
        builder.note(f"of two text files of an image this one was read: {some_of(twice)}")
    if left_out:
        builder.note(f"images left out because they have no text file: {left_out:,}")
    return builder.finish()


def _images_of(path: Path) -> Iterator[tuple[str, str, str | None]]:
    """Every image as its folder, its name, and its text file's name if it has one."""
    for folder, names in walk(path):
        texts = {name for name in names if name.lower().endswith(".txt")}
        for name in filter(is_image, names):
            yield folder, name, text_beside(name, texts)


def _has_another(folder: Path, image: str, sidecar: str) -> bool:
    """Whether beside `a.jpg.txt` there is `a.txt` too."""
    stem = PurePosixPath(image).stem
    return sidecar.lower() == f"{image}.txt".lower() and (folder / f"{stem}.txt").is_file()


def _tags(path: Path, split_line: Callable[[str], list[str]]) -> Iterator[str]:
    """The tags in a text file; a line may also be a list of texts in JSON or as Python has it."""
    for number, line in enumerate(_text_lines(path), start=1):
        try:
            yield from (json_names if _LIST.fullmatch(line.strip()) else split_line)(line)
        except ValueError as error:
            raise AnnotationError.at(path, number, str(error)) from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of all text files, up to the first with a comma: it shows what separates tags."""
    for folder, _, sidecar in _images_of(path):
        for number, line in enumerate(_text_lines(path / folder / sidecar) if sidecar else (), 1):
            yield number, line
            if "," in line:
                return


def _text_lines(path: Path) -> list[str]:
    lines = read_text(path).splitlines()
    for number, line in enumerate(lines, start=1):
        if is_box_line(line):
            message = f"'{line.strip()[:60]}' is a box of a detection data set, not tags"
            way = "; boxes beside images are read with a data.yaml that says 'train: .'"
            raise AnnotationError.at(path, number, message + way)
    return lines
