"""JSON files that hold a list with an object for each image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import AnnotationBuilder
from twlcli.annotations.encoding import read_text
from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.annotations.records import Records
from twlcli.errors import AnnotationError
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
    return builder.finish()


def objects_in(path: Path) -> list[dict[str, Any]]:
    """The objects of a list.

    Raises:
        AnnotationError: the file is no JSON, or holds anything else.
    """
    try:
        content = parse_json(read_text(path))
    except json.JSONDecodeError as error:
        message = f"column {error.colno} is not JSON ({error.msg})"
        raise AnnotationError.at(path, error.lineno, message) from None
    except ValueError as error:
        raise AnnotationError(f"{path}: cannot read its JSON: {error}") from None
    if not isinstance(content, list):
        raise AnnotationError(f"{path}: expected a list of objects, beginning with [")
    for number, each in enumerate(content, start=1):
        if not isinstance(each, dict):
            message = 'expected an object such as {"image": "a.jpg", "labels": ["dog"]}'
            raise AnnotationError(f"{path}: object {number}: {message}")
    return content
