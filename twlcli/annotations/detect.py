"""Opening labels in any format."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, Unpack

from twlcli.annotations import coco, nus_wide, voc
from twlcli.annotations.annotations import Annotations
from twlcli.annotations.corrected import corrected
from twlcli.annotations.corrections import are_corrections, read_verdicts
from twlcli.annotations.csv_layout import find_layout
from twlcli.annotations.encoding import find_encoding, open_text, readable
from twlcli.annotations.folders import is_folders, read_folders, walk
from twlcli.annotations.groups import with_note_of_parted_groups
from twlcli.annotations.imagefolder import is_imagefolder, read_imagefolder
from twlcli.annotations.json_list import read_json_list, records_in
from twlcli.annotations.jsonl import read_jsonl
from twlcli.annotations.keywords import MIN_IMAGES, keyworded, read_keywords
from twlcli.annotations.label_studio import is_label_studio, read_label_studio
from twlcli.annotations.located import located, with_extension
from twlcli.annotations.missing import with_forward_slashes
from twlcli.annotations.odd_labels import with_notes_of_labels
from twlcli.annotations.read_options import (
    DEFAULTS,
    EVERY,
    OF_RECORDS,
    OF_TABLES,
    ReadKeywords,
    ReadOptions,
)
from twlcli.annotations.several import several_as_one
from twlcli.annotations.sheets import SHEETS
from twlcli.annotations.sidecars import is_sidecars, read_sidecars
from twlcli.annotations.table import read_table
from twlcli.annotations.voc_beside import is_voc_beside, read_voc_beside
from twlcli.annotations.vocabulary import (
    with_spelling_of,
    with_vocabulary,
    without_labels,
    without_rare_labels,
)
from twlcli.annotations.yolo import is_yolo, read_yolo
from twlcli.errors import AnnotationError, did_you_mean
from twlcli.images.image_file import is_image
from twlcli.io import is_address, parse_json
from twlcli.labels import Vocabulary, some_of


@dataclass(frozen=True)
class Format:
    """How a format is read, what it lies in, and which options mean something to it."""

    read: Callable[[Path, ReadOptions], Annotations]
    lies_in: Literal["file", "folder", "either"]
    options: frozenset[str]


_OF_IMAGES = EVERY | {"images"}


def _read_voc(path: Path, _: ReadOptions) -> Annotations:
    return voc.read(path) if voc.is_voc(path) or not is_voc_beside(path) else read_voc_beside(path)


FORMATS: dict[str, Format] = {
    "csv": Format(read_table, "file", OF_TABLES),
    "tsv": Format(partial(read_table, delimiter="\t"), "file", OF_TABLES),
    "parquet": Format(read_table, "file", OF_TABLES),
    "xlsx": Format(read_table, "file", OF_TABLES),
    "jsonl": Format(read_jsonl, "file", OF_RECORDS),
    "json": Format(read_json_list, "file", OF_RECORDS),
    "label-studio": Format(
        read_label_studio, "file", EVERY | {"images", "image_column", "labels_column", "extension"}
    ),
    "corrections": Format(read_verdicts, "either", EVERY | {"images", "extension"}),
    "imagefolder": Format(read_imagefolder, "folder", OF_TABLES - {"join_rows"}),
    "coco": Format(
        lambda path, options: coco.read(path, images=options.coco_images or options.images),
        "either",
        _OF_IMAGES | {"coco_images"},
    ),
    "yolo": Format(read_yolo, "either", EVERY | {"names"}),
    "voc": Format(_read_voc, "folder", _OF_IMAGES),
    "nus-wide": Format(lambda path, _: nus_wide.read(path), "folder", _OF_IMAGES),
    "sidecars": Format(read_sidecars, "folder", EVERY | {"separator"}),
    "keywords": Format(read_keywords, "folder", EVERY | {"people", "own_keywords"}),
    "folders": Format(read_folders, "folder", EVERY),
}
# Formats whose files name images that may lie elsewhere; see `located`.
_LISTS = ("csv", "tsv", "parquet", "xlsx", "jsonl", "json", "corrections")

# Formats in which labels stand in cells; see `odd_labels`.
_OF_CELLS = ("csv", "tsv", "parquet", "xlsx", "sidecars", "imagefolder")

# Read when a folder is given; before anything else is looked for in it.
TABLES_IN_FOLDER = ("labels.csv", "labels.tsv", "labels.jsonl")

_LABEL_FOLDERS = ("annotations", "labels")
# What may hold labels, if nothing else in a folder tells what they are.
# Label files that say of the folders beside each other that they are no classes.
_IN_CLASS_FOLDERS = ("labels.csv", "metadata.csv", "metadata.jsonl", "_annotations.coco.json")
_LABEL_FILE = re.compile(
    r"\.(csv|tsv|jsonl?|ndjson|parquet|xlsx?|xml|ya?ml)(\.(gz|bz2|xz|zip|zst))?$", re.IGNORECASE
)

# The first key of an object of JSON, and a list of objects in one.
_FIRST_KEY = re.compile(r'\{\s*"([^"\\]*)"')
_OBJECTS = re.compile(r'"\s*:\s*\[\s*\{')

_START = 1 << 16  # characters that show what a file is

FORMAT_OF_SUFFIX = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".xlsx": "xlsx",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}


def read_labels(
    path: Path | str,
    *,
    vocabulary: Vocabulary | None = None,
    **options: Unpack[ReadKeywords],
) -> Annotations:
    """Read labels from a file or folder.

    Whether all images' files exist is not looked at; `missing.check_images` does. Where those of a
    table or JSON Lines file do not, they are looked for; see `located.located`.

    Args:
        path: a label file, or a folder that a format describes or that holds `labels.csv`; also
            the address of a file in a store, whose images are named by `images`.
        vocabulary: the labels of an existing model; the columns then are these, in this order.
            Without it they are sorted by name, or stand in the order that the format gives.
        options: each may be left out:

            - `format`: one of `FORMATS`; found by name and content without it.
            - `images`: the folder that image paths are relative to, where it is not the label
              file's.
            - `coco_images`: the folder of the images of a COCO file.
            - `separator`: what stands between labels in a cell; see `table.read_table`.
            - `join_rows`: whether an image may have several rows of a table, which together list
              its labels.
            - `image_column`, `labels_column`, `split_column`: the columns of a table, or the keys
              of objects in JSON, that hold images, lists of labels and splits.
            - `label_columns`: the columns of a label each: names, ranges `first:last` and patterns
              such as `label_*`, separated by commas.
            - `ignore_columns`: columns that are not read, in the same form.
            - `group_column`: the column of what images belong to, such as a patient. Held-out
              images are drawn so that no group lies in both parts.
            - `ignore_labels`: labels that are left out, or patterns of them with `*` and `?`.
            - `min_images`: labels that fewer images have are left out; 20 for keywords of
              photographs where nothing is said. Not for the labels of a `vocabulary`.
            - `blank`, `minus_one`: `absent` or `unknown`: what an empty cell and -1 mean in columns
              of labels, instead of the rule in `table.read_table`.
            - `extension`: added to the names of images without an ending, such as `.jpg`.
            - `names`: a file of label names, for labels that are numbers; see
              `label_names.LabelNames`.
            - `people`: whether the people in photographs count as keywords.
            - `own_keywords`: whether those keywords of photographs count that twl itself added.
            - `corrections`: a table of labels that were corrected; see
              `corrections.read_corrections`.

    Raises:
        AnnotationError: the format is unknown, the labels cannot be read, an option does not apply
            to the format, or an image has a label that is not in `vocabulary`.
    """
    return read_with(path, ReadOptions(**options), vocabulary=vocabulary)


def read_with(
    path: Path | str,
    options: ReadOptions,
    *,
    vocabulary: Vocabulary | None = None,
    ignore_unknown: bool = False,
) -> Annotations:
    """Read labels as `read_labels` does, with the options as one value.

    With `ignore_unknown`, labels outside `vocabulary` are left out; see `with_vocabulary`.
    """
    alike = replace(options, ignore_labels=None, val_data=None, test_data=None, corrections=None)
    annotations = _read_one(path, alike)
    others = [
        (split, _read_one(other, alike))
        for split, other in (("val", options.val_data), ("test", options.test_data))
        if other is not None
    ]
    if others:
        annotations = several_as_one(annotations, others)
    if options.corrections is not None:
        annotations = corrected(annotations, Path(options.corrections))
    if options.ignore_labels:
        annotations = without_labels(
            annotations, options.ignore_labels, must_occur=vocabulary is None
        )
    annotations = with_note_of_parted_groups(annotations)
    are_keywords = annotations.format == "keywords"
    minimum = options.min_images or (MIN_IMAGES if are_keywords else 1)
    if vocabulary is None:
        return annotations if minimum == 1 else without_rare_labels(annotations, minimum)
    if are_keywords:
        annotations = with_spelling_of(annotations, vocabulary)
    # Where rare labels are left out, the model has not learned them all.
    ignore_unknown = ignore_unknown or are_keywords or minimum > 1
    return with_vocabulary(annotations, vocabulary, ignore_unknown=ignore_unknown)


def _read_one(path: Path | str, options: ReadOptions) -> Annotations:
    """One label file or folder, as far as it goes by itself."""
    if is_address(path):
        from twlcli.stores.cached import local_copy  # most labels lie on the disk

        path = local_copy(str(path))
    path, name = Path(path), options.format
    if name is not None and name not in FORMATS:
        hint = did_you_mean(name, FORMATS) or f"; formats are {', '.join(FORMATS)}"
        raise AnnotationError(f"there is no format '{name}'{hint}")
    if name is None or FORMATS[name].lies_in == "file":
        path = _table_inside(path)
    if name is None:
        name = find_format(path, options)
    _check_place(path, name)
    options.check(path, name, FORMATS[name].options)
    annotations = FORMATS[name].read(path, options)
    if name == "folders" and options.format is None and (share := keyworded(path)):
        annotations = annotations.with_note(
            f"{100 * share:.3g} % of the photographs have keywords, which were not read; the "
            "format 'keywords' reads them"
        )
    if options.images is not None and name != "coco":
        annotations = replace(annotations, root=Path(options.images))
    annotations = with_forward_slashes(annotations)
    if options.extension is not None:
        annotations = with_extension(annotations, options.extension)
    if name in _OF_CELLS and options.separator is None:
        annotations = with_notes_of_labels(annotations)
    return located(annotations) if name in _LISTS else annotations


def find_format(path: Path, options: ReadOptions = DEFAULTS) -> str:
    """The format of a label file or folder, a key of `FORMATS`.

    Args:
        path: the file or folder.
        options: those that name a table's columns, and that say which keywords count.

    Raises:
        AnnotationError: nothing there looks like labels; says what was expected.
    """
    with readable(path):
        path.stat()
    return _folder_format(path, options) if path.is_dir() else _file_format(path, options)


def _table_inside(path: Path) -> Path:
    if path.is_dir():
        return next((path / name for name in TABLES_IN_FOLDER if (path / name).is_file()), path)
    return path


def _check_place(path: Path, name: str) -> None:
    with readable(path):
        path.stat()
    lies_in, found = FORMATS[name].lies_in, "folder" if path.is_dir() else "file"
    if lies_in not in (found, "either"):
        raise AnnotationError(f"{path}: is a {found}; the format '{name}' is read from a {lies_in}")


def _folder_format(path: Path, options: ReadOptions) -> str:
    looks_like: tuple[tuple[str, Callable[[Path], bool]], ...] = (
        ("imagefolder", is_imagefolder),
        ("voc", voc.is_voc),
        ("coco", coco.is_coco),
        ("nus-wide", nus_wide.is_nus_wide),
        ("yolo", is_yolo),
        ("sidecars", is_sidecars),
        ("voc", is_voc_beside),
    )
    for name, looks in looks_like:
        if looks(path):
            return name
    share = keyworded(path, options)
    if share >= 0.5:
        return "keywords"
    if are_corrections(path) and not is_folders(path):
        return "corrections"
    if files := _label_files(path):
        which = "that file" if len(files) == 1 else "the one with the labels, such as"
        message = f"is a folder with {some_of(files)} in it; name {which} {path / files[0]}"
        hint = "{format} folders reads a folder for each class" if is_folders(path) else ""
        raise AnnotationError(f"{path}: {message}", hint=hint)
    if is_folders(path):
        return "folders"
    if share:
        return "keywords"
    images = any(is_image(name) for _, names in walk(path) for name in names)
    what = "holds images but no labels" if images else "holds neither labels nor images"
    raise AnnotationError(
        f"{path}: {what}; expected labels.csv, metadata.csv, a .txt beside each image, "
        "photographs with keywords, a folder per class, or the layout of VOC, COCO, YOLO or "
        "NUS-WIDE"
    )


def _label_files(folder: Path) -> list[str]:
    """Files in a folder, or in `annotations` in it, that may hold the labels of its images."""
    with readable(folder):
        inside = [each for each in folder.iterdir() if each.name.casefold() in _LABEL_FOLDERS]
        places = [folder, *sorted(each for each in inside if each.is_dir())]
        files = [each for place in places for each in sorted(place.iterdir())]
        below = sorted(each for each in files if each.parent == folder and each.is_dir())
    found = [each for each in files if each.name[0] != "." and _LABEL_FILE.search(each.name)]
    found += [each / name for each in below for name in _IN_CLASS_FOLDERS]
    return [each.relative_to(folder).as_posix() for each in found if each.is_file()]


def _file_format(path: Path, options: ReadOptions) -> str:
    suffix = path.suffix.lower()
    if suffix in ("", ".csv", ".tsv", ".txt", *SHEETS) and are_corrections(path):
        return "corrections"
    if suffix in FORMAT_OF_SUFFIX:
        return FORMAT_OF_SUFFIX[suffix]
    if is_image(path.name):
        raise AnnotationError(f"{path}: is an image; expected a label file or a folder")
    if coco.is_coco(path):
        return "coco"
    if is_yolo(path):
        return "yolo"
    with open_text(path, find_encoding(path)) as file:
        start = file.read(_START).lstrip()
    if start.startswith("{"):
        return _object_format(start)
    if suffix != ".json":
        find_layout(path, options)  # says what is wrong with it, if it is not a table
        return "csv"
    if start.startswith("["):
        return "label-studio" if is_label_studio(_first_in(start)) else "json"
    raise AnnotationError.at(
        path,
        1,
        "expected a COCO instances file, a list of objects, or one JSON object per line",
    )


def _first_in(text: str) -> object:
    """The first value of a list in JSON; None where it is cut off or there is none."""
    try:
        value: object = json.JSONDecoder().raw_decode(text[1:].lstrip())[0]
    except (ValueError, RecursionError):
        return None
    return value


def _object_format(start: str) -> str:
    """The format of a file that begins with an object of JSON, which its first line may end."""
    try:
        content = parse_json(start.replace("\r", "\n").split("\n", 1)[0])
    except ValueError:
        first = _FIRST_KEY.match(start)
        is_json = (first and is_image(first[1])) or _OBJECTS.search(start)
        return "json" if is_json else "coco"  # which says what is wrong
    return "jsonl" if records_in(content) is None else "json"
