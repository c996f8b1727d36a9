"""JSON files that hold a list with an object for each image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import AnnotationBuilder
from twlcli.annotations.columns import IMAGE_COLUMNS, LABEL_COLUMNS
from twlcli.annotations.encoding import json_fault, read_text
from twlcli.annotations.named_columns import normal_name
from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.annotations.records import Records
from twlcli.errors import AnnotationError
from twlcli.images.image_file import is_image
from twlcli.io import parse_json


def read_json_list(path: Path, options: ReadOptions = DEFAULTS) -> Annotations:
    """Read a list of objects that are as the lines of `jsonl.read_jsonl`.

    Raises:
        AnnotationError: with the number of the object that is wrong, counted from 1.
    """
    builder = AnnotationBuilder(path, format_name="json", root=path.parent)
    objects = objects_in(path)

    def labels() -> Iterator[tuple[int, Any]]:
        for number, each in enumerate(objects, start=1):
            yield number, records.labels_of(each)

    records = Records(builder, options, labels, of=path)
    for number, each in enumerate(objects, start=1):
        try:
            records.add(each)
        except ValueError as error:
            raise AnnotationError(f"{path}: object {number}: {error}") from error
    records.note_unread()
    return builder.finish()


def objects_in(path: Path) -> list[dict[str, Any]]:
    """The objects of a list, which may be the only list of objects in an object.

    An object of labels by image, `{"a.jpg": ["dog"]}`, is the same as a list of such objects.

    Raises:
        AnnotationError: the file is no JSON, or holds anything else.
    """
    try:
        content = parse_json(read_text(path))
    except json.JSONDecodeError as error:
        message = f"column {error.colno} is not JSON ({error.msg})"
        raise AnnotationError.at(path, error.lineno, message) from None
    except ValueError as error:
        raise AnnotationError(f"{path}: cannot read its JSON: {json_fault(error)}") from None
    content = records_in(content) or content
    if not isinstance(content, list):
        raise AnnotationError(f"{path}: expected a list of objects, beginning with [")
    for number, each in enumerate(content, start=1):
        if not isinstance(each, dict):
            message = 'expected an object such as {"image": "a.jpg", "labels": ["dog"]}'
            raise AnnotationError(f"{path}: object {number}: {message}")
    return content


def records_in(content: object) -> list[Any] | None:
    """What an object of JSON says of images; None where it is no such object, or is of one image.

    Example:
        >>> records_in({"a.jpg": ["dog"]}), records_in({"data": [{"image": "a.jpg", "labels": []}]})
        ([{'image': 'a.jpg', 'labels': ['dog']}], [{'image': 'a.jpg', 'labels': []}])
    """
    if not isinstance(content, dict) or not content:
        return None
    if all(map(is_image, content)):
        return [_record(image, labels) for image, labels in content.items()]
    if any(normal_name(key) in IMAGE_COLUMNS for key in content):
        return None
    lists = [each for each in content.values() if isinstance(each, list)]
    are_objects = [bool(each) and all(isinstance(one, dict) for one in each) for each in lists]
    return lists[0] if are_objects == [True] else None


def _record(image: str, labels: Any) -> dict[str, Any]:
    """What stands by an image's name: its labels, or an object that has them among others."""
    if isinstance(labels, dict) and any(normal_name(key) in LABEL_COLUMNS for key in labels):
        return {"image": image, **labels}
    return {"image": image, "labels": labels}
