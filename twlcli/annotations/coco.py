"""Reading MS-COCO instances JSON: the labels of an image are the categories of its objects."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import AnnotationBuilder
from twlcli.annotations.encoding import check_is_file, json_fault, read_text, readable
from twlcli.annotations.located import located
from twlcli.annotations.missing import find_missing_images
from twlcli.errors import AnnotationError
from twlcli.io import parse_json

_LISTS = ("images", "annotations", "categories")
# One of the three lists, holding objects: no table or JSON Lines file has that.
_SIGN = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[\s*[{\]]')
_NOTE_OF_NEGATIVES = (
    "categories were looked for in some images only, as in LVIS: those that an image lists under "
    "'neg_category_ids' are absent, others that it does not show are unknown"
)
_OF_SPLIT = re.compile(r"(train|val|valid|validation|test)(_?(19|20)\d\d)?")  # a file's name
_SIGN_BYTES = 65536  # looked at, from each end of the file


def is_coco(path: Path) -> bool:
    """Whether a file looks like COCO JSON, or a folder holds such files under their usual names.

    Only the two ends of a file are looked at.
    """
    if path.is_dir():
        return bool(_instance_files(path))
    check_is_file(path)
    with readable(path), path.open("rb") as file:
        start = file.read(_SIGN_BYTES)
        file.seek(max(0, path.stat().st_size - _SIGN_BYTES))
        end = file.read()
    return start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and any(
        _SIGN.search(part) for part in (start, end)
    )


def read(path: Path, *, images: Path | str | None = None) -> Annotations:
    """Read COCO instances.

    The labels of an image are the categories of its annotations, `iscrowd` ones included, as the
    authors of the two-way loss count them (`utils/datasets.py` of their code sets a target for
    every annotation of the image). The vocabulary is all categories in the order of their ids.
    Images without annotations are kept, label-free. In a federated data set such as LVIS, whose
    images have `neg_category_ids`, only these are absent, and what is neither is unknown.

    The split is taken from the file's name (`instances_train2017.json` and `train.json` are of
    `train`) or, for `train/_annotations.coco.json`, from its folder's. Images are looked for in
    `images`, else in the folder that the file's name speaks of (`train2017/` or `images/train2017/`
    beside `annotations/`), in `data/` beside FiftyOne's `labels.json`, else beside the file; where
    they are in none of these, in folders below and beside it.

    Args:
        path: an instances file, or a folder with `annotations/instances_*.json`,
            `instances_*.json`, `*/_annotations.coco.json`, `labels.json` beside `data/`, or files
            there or in `annotations/` that are named as splits are; all of them are read.
        images: the folder of the images, or the one that holds `train2017/` and so on.

    Raises:
        AnnotationError: no such file, broken or incomplete JSON, an annotation of an unknown
            image or category, an image listed twice, or files with different categories.
    """
    files = _instance_files(path) if path.is_dir() else [path]
    if not files:
        raise AnnotationError(
            f"{path}: holds no annotations/instances_*.json, instances_*.json or "
            "*/_annotations.coco.json"
        )
    folders = [_image_folder(file, None if images is None else Path(images)) for file in files]
    root = Path(os.path.commonpath(folders))
    builder = AnnotationBuilder(path, format_name="coco", root=root)
    first_names: tuple[str, ...] | None = None
    for file, folder in zip(files, folders, strict=True):
        instances = _Instances.load(file)
        names = tuple(instances.category_names().values())
        if first_names is not None and names != first_names:
            raise AnnotationError(f"{file}: its categories differ from those of {files[0]}")
        first_names = names
        builder.begin_file(file)
        builder.declare(names, line=None)
        prefix = "" if folder == root else f"{folder.relative_to(root).as_posix()}/"
        instances.add_to(builder, prefix=prefix, split=_split(file))
    return builder.finish() if images is not None else _found(builder.finish())


@dataclass(frozen=True)
class _Instances:
    """The three lists of one file, and where they stand."""

    path: Path
    images: list[Any]
    annotations: list[Any]
    categories: list[Any]

    @classmethod
    def load(cls, path: Path) -> _Instances:
        text = read_text(path)
        if not text.strip():
            raise AnnotationError(f"{path}: the file is empty")
        try:
            content = parse_json(text)
        except json.JSONDecodeError as error:
            cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
            what = "the JSON is cut short" if cut else f"not valid JSON ({error.msg})"
            message = f"column {error.colno}: {what}"
            raise AnnotationError.at(path, error.lineno, message) from None
        except ValueError as error:
            raise AnnotationError(f"{path}: cannot read its JSON: {json_fault(error)}") from None
        for key in _LISTS:
            if not isinstance(content, dict) or not isinstance(content.get(key), list):
                raise AnnotationError(
                    f"{path}: has no list '{key}'; expected a COCO instances file with "
                    "'images', 'annotations' and 'categories'"
                )
        return cls(path, *(content[key] for key in _LISTS))

    def category_names(self) -> dict[int, str]:
        """The names by id, in the order of the ids."""
        names: dict[int, str] = {}
        for at, category in enumerate(self.categories):
            number = self._value("categories", at, category, "id", int)
            if number in names:
                raise self._error("categories", at, f"id {number} was given before")
            names[number] = self._value("categories", at, category, "name", str)
        return dict(sorted(names.items()))

    def add_to(self, builder: AnnotationBuilder, *, prefix: str, split: str) -> None:
        """Add every image, in the order of the file."""
        files = self._image_files()
        names = self.category_names()
        labels: dict[int | str, set[str]] = {number: set() for number in files}
        for at, annotation in enumerate(self.annotations):
            image = self._value("annotations", at, annotation, "image_id", int, str)
            category = self._value("annotations", at, annotation, "category_id", int)
            if image not in labels:
                raise self._error("annotations", at, f"image_id {image} is not in 'images'")
            if category not in names:
                message = f"category_id {category} is not in 'categories'"
                raise self._error("annotations", at, message)
            labels[image].add(names[category])
        absent = self._negatives(names)
        if absent is not None:
            builder.note(_NOTE_OF_NEGATIVES)
        every = builder.columns(names.values())
        for number, file in files.items():
            present = builder.columns(sorted(labels[number]))
            unknown: list[int] = []
            if absent is not None:
                known = {*present, *builder.columns(absent.get(number, ()))}
                unknown = [column for column in every if column not in known]
            builder.add(prefix + file, present, unknown, split=split)

    def _negatives(self, names: Mapping[int, str]) -> dict[int | str, list[str]] | None:
        """The categories that each image is known not to show, where only some were looked for."""
        found: dict[int | str, list[str]] = {}
        for at, image in enumerate(self.images):
            numbers = image.get("neg_category_ids")
            if numbers is None:
                continue
            if not isinstance(numbers, list) or any(number not in names for number in numbers):
                raise self._error("images", at, "'neg_category_ids' is no list of categories' ids")
            found[image["id"]] = [names[number] for number in numbers]
        return found or None

    def _image_files(self) -> dict[int | str, str]:
        files: dict[int | str, str] = {}
        id_of: dict[str, int | str] = {}
        for at, image in enumerate(self.images):
            number = self._value("images", at, image, "id", int, str)
            file = _end_of_address(image) or self._value("images", at, image, "file_name", str)
            if number in files:
                message = f"id {number} ('{file}') was given to '{files[number]}' before"
                raise self._error("images", at, message)
            if file in id_of:
                message = f"'{file}' (id {number}) was listed before with id {id_of[file]}"
                raise self._error("images", at, message)
            files[number], id_of[file] = file, number
        return files

    def _value(self, key: str, at: int, entry: Any, field: str, *kinds: type) -> Any:
        value = entry.get(field) if isinstance(entry, dict) else None
        if type(value) not in kinds:
            expected = " or ".join("an integer" if kind is int else "a text" for kind in kinds)
            found = "is missing" if value is None else f"is {json.dumps(value)[:40]}"
            raise self._error(key, at, f"'{field}' {found}; expected {expected}")
        return value

    def _error(self, key: str, at: int, message: str) -> AnnotationError:
        return AnnotationError(f"{self.path}: {key}[{at}]: {message}")


def _end_of_address(image: Any) -> str | None:
    """`train2017/a.jpg` of an image of LVIS, which has an address instead of a file's name."""
    if not isinstance(image, dict) or "file_name" in image:
        return None
    address = image.get("coco_url")
    return "/".join(address.split("/")[-2:]) if isinstance(address, str) else None


def _found(annotations: Annotations) -> Annotations:
    """With images that are not where the file's name tells, but below its folder or beside it."""
    for root in (annotations.root, annotations.root.parent):
        tried = replace(annotations, root=root)
        there = located(tried)
        if there is not tried or len(find_missing_images(tried)) < len(tried):
            return there
    return annotations


def _instance_files(folder: Path) -> list[Path]:
    for pattern in ("annotations/instances_*.json", "instances_*.json", "*/_annotations.coco.json"):
        if files := sorted(folder.glob(pattern)):
            return files
    whole = folder / "labels.json"  # of FiftyOne
    if _is_fiftyones(whole) and is_coco(whole):
        return [whole]
    for pattern in ("annotations/*.json", "*.json"):
        files = sorted(file for file in folder.glob(pattern) if _OF_SPLIT.fullmatch(file.stem))
        if files and all(is_coco(file) for file in files):
            return files
    return []


def _is_fiftyones(file: Path) -> bool:
    return file.name == "labels.json" and file.is_file() and (file.parent / "data").is_dir()


def _part(file: Path) -> str:
    """`train2017` of `instances_train2017.json`, `train` of `train/_annotations.coco.json`."""
    if file.name == "_annotations.coco.json":
        return file.parent.name
    if file.stem.startswith("instances_") or _OF_SPLIT.fullmatch(file.stem):
        return file.stem.removeprefix("instances_")
    return ""


def _split(file: Path) -> str:
    part = re.sub(r"_?(19|20)\d\d$", "", _part(file))
    return "" if part == "default" else part  # CVAT's word for no split


def _image_folder(file: Path, images: Path | None) -> Path:
    part = _part(file)
    if images is not None:
        return images / part if part and (images / part).is_dir() else images
    if _is_fiftyones(file):
        return file.parent / "data"
    above = file.parent.parent if file.parent.name else file.absolute().parent.parent
    for base in (file.parent, above) if part else ():
        for folder in (base / part, base / "images" / part):
            if folder.is_dir():
                return folder
    all_images = above / "images"
    return all_images if part and all_images.is_dir() else file.parent
