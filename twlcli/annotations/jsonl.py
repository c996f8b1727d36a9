"""JSON Lines: one JSON object per image and line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import AnnotationBuilder
from twlcli.annotations.columns import IMAGE_COLUMNS, LABEL_COLUMNS, normal_name
from twlcli.annotations.encoding import WINDOWS_1252, find_encoding, open_text
from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.annotations.separators import find_separator
from twlcli.annotations.table import cell_splitter
from twlcli.errors import AnnotationError
from twlcli.io import parse_json

SplitText = Callable[[], Callable[[str], list[str]]]


def read_jsonl(path: Path, options: ReadOptions = DEFAULTS) -> Annotations:
    r"""Read a file with one JSON object per line.

    The image's path stands under `image` (or another of `IMAGE_COLUMNS`), relative to the file's
    folder. `labels` (or `label`, `tags`) is one of

    - a list of the labels present: `["dog", "person"]`;
    - an object of values as the tagger writes it: `{"dog": 0.93}`; a value above 0 or `true` is
      present, 0 or `false` absent, -1 or `null` unknown;
    - a string: labels as in a cell of a table, see `table.read_table`;
    - `null`: no label.

    Optional keys: `split`; `unknown`, a list of the labels of which nobody knows; `vocabulary`, on
    any line, a list of all labels in their order. Other keys are ignored, empty lines too.

    Raises:
        AnnotationError: with the line, and the column where a line is not JSON.
    """
    builder = AnnotationBuilder(path, format_name="jsonl", root=path.parent)
    add_jsonl(builder, path, options)
    return builder.finish()


def add_jsonl(
    builder: AnnotationBuilder,
    path: Path,
    options: ReadOptions,
    *,
    folder: str = "",
    split: str = "",
) -> None:
    """Add the lines of a file to a builder; arguments as for `table.add_table`."""
    encoding = find_encoding(path)
    if encoding == WINDOWS_1252:
        builder.note(f"{path.name} is not UTF-8 and was read as Windows-1252 text")

    @cache
    def split_text() -> Callable[[str], list[str]]:
        """Found out only where labels are strings: it takes a pass over the file."""
        if options.separator is not None:
            return cell_splitter(options.separator)
        found = find_separator(_strings(path, encoding), of=path.name)
        for note in found.notes:
            builder.note(note)
        return cell_splitter(found.text)

    for line, record in _records(path, encoding):
        try:
            _add_record(builder, record, line, split_text, folder, split)
        except ValueError as error:
            raise AnnotationError.at(path, line, str(error)) from error


def _records(path: Path, encoding: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each record with its line."""
    with open_text(path, encoding) as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                yield line, _parse(text)
            except ValueError as error:
                raise AnnotationError.at(path, line, str(error)) from error


def _strings(path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    """The labels that are strings, with their lines."""
    for line, record in _records(path, encoding):
        try:
            labels = _value(record, LABEL_COLUMNS, "labels")
        except ValueError as error:
            raise AnnotationError.at(path, line, str(error)) from error
        if isinstance(labels, str):
            yield line, labels


def _parse(text: str) -> dict[str, Any]:
    try:
        record = parse_json(text)
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            message = f"the JSON is cut short at column {error.pos + 1} ({error.msg})"
        else:
            message = f"column {error.pos + 1} is not JSON ({error.msg})"
        raise ValueError(message) from error
    if not isinstance(record, dict):
        raise ValueError('expected an object such as {"image": "a.jpg", "labels": ["dog"]}')
    return record


def _add_record(
    builder: AnnotationBuilder,
    record: Mapping[str, Any],
    line: int,
    split_text: SplitText,
    folder: str,
    split: str,
) -> None:
    image = _value(record, IMAGE_COLUMNS, "image")
    if not isinstance(image, str):
        raise ValueError(f"the image's path is {_kind(image)}, not a string")
    if record.get("vocabulary") is not None:
        builder.declare(_names(record["vocabulary"], "vocabulary"), line=line)
    present, unknown = _labels(builder, _value(record, LABEL_COLUMNS, "labels"), split_text)
    if record.get("unknown") is not None:
        unknown += builder.columns(_names(record["unknown"], "unknown"))
    name = record.get("split") or split
    if not isinstance(name, str):
        raise ValueError(f"'split' is {_kind(name)}, not a string")
    builder.add(folder + image if image else "", present, unknown, split=name, line=line)


def _value(record: Mapping[str, Any], names: tuple[str, ...], what: str) -> Any:
    for name in names:
        if name in record:
            return record[name]
    keys = {normal_name(key): key for key in reversed(list(record))}
    for name in names:
        if name in keys:
            return record[keys[name]]
    there = ", ".join(f"'{key}'" for key in list(record)[:6]) or "none"
    raise ValueError(f"there is no key '{what}' (keys: {there})")


def _labels(
    builder: AnnotationBuilder, labels: Any, split_text: SplitText
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if isinstance(labels, dict):
        return _from_values(builder, labels)
    if isinstance(labels, str):
        labels = split_text()(labels)
    return builder.columns(_names([] if labels is None else labels, "labels")), ()


def _from_values(
    builder: AnnotationBuilder, values: Mapping[str, Any]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    present, unknown = [], []
    for name, value in values.items():
        if value is not None and not isinstance(value, int | float):
            raise ValueError(f"the value of label '{name}' is {_kind(value)}, not a number")
        builder.column(name)  # a label that is 0 everywhere is in the vocabulary all the same
        if value is None or value == -1:
            unknown.append(name)
        elif value > 0:
            present.append(name)
        elif value != 0:
            raise ValueError(f"the value of label '{name}' is {value}; expected 0 to 1, or -1")
    return builder.columns(present), builder.columns(unknown)


def _names(names: Any, what: str) -> list[str]:
    if not isinstance(names, list):
        raise ValueError(f"'{what}' is {_kind(names)}, not a list of label names")
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"'{what}' holds {json.dumps(name)}, which is not a label name")
    return names


def _kind(value: Any) -> str:
    return {
        type(None): "null",
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
    }.get(type(value), "an object")
