"""JSON Lines: one JSON object per image and line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import AnnotationBuilder
from twlcli.annotations.encoding import WINDOWS_1252, find_encoding, json_fault, open_text
from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.annotations.records import Records
from twlcli.errors import AnnotationError
from twlcli.io import parse_json


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

    def labels() -> Iterator[tuple[int, Any]]:
        for line, record in _records(path, encoding):
            with _at(path, line):
                found = records.labels_of(record)
            yield line, found

    records = Records(builder, options, labels, of=path, folder=folder, split=split)
    for line, record in _records(path, encoding):
        with _at(path, line):
            records.add(record, line)
    records.note_unread()


@contextmanager
def _at(path: Path, line: int) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise AnnotationError.at(path, line, str(error)) from error


def _records(path: Path, encoding: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each record with its line."""
    with open_text(path, encoding) as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            with _at(path, line):
                record = _parse(text)
            yield line, record


def _parse(text: str) -> dict[str, Any]:
    try:
        record = parse_json(text)
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            message = f"the JSON is cut short at column {error.pos + 1} ({error.msg})"
        else:
            message = f"column {error.pos + 1} is not JSON ({error.msg})"
        raise ValueError(message) from error
    except ValueError as error:
        raise ValueError(f"cannot read its JSON: {json_fault(error)}") from error
    if not isinstance(record, dict):
        raise ValueError('expected an object such as {"image": "a.jpg", "labels": ["dog"]}')
    return record
