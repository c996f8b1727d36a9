"""Cutting a table's text into cells."""

from __future__ import annotations

import csv
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from twlcli.annotations.builder import normal_label
from twlcli.annotations.columns import Columns, find_columns, holds_images, image_column
from twlcli.annotations.encoding import find_encoding, open_text
from twlcli.errors import AnnotationError

_SEP_LINE = re.compile(r"sep=.?")  # what Excel takes as the delimiter, above the header

DELIMITERS = (",", "\t", ";")  # between cells
SAMPLE_ROWS = 1000  # that show what the columns hold

# A cell that lists 10,000 labels is longer than the csv module's own bound of 131,072 characters.
_LONGEST_CELL = 2**31 - 1
_limit_lock = threading.Lock()
_limit_holders: list[int] = []  # the bound as it was before each of those who read now


@contextmanager
def long_cells() -> Iterator[None]:
    """Let the csv module read cells of any length inside the block.

    Its bound is the whole interpreter's; the last of those who read at the same time sets it back.
    """
    with _limit_lock:
        _limit_holders.append(csv.field_size_limit(_LONGEST_CELL))
    try:
        yield
    finally:
        with _limit_lock:
            before = _limit_holders.pop()
            if not _limit_holders:
                csv.field_size_limit(before)


@dataclass(frozen=True)
class Layout:
    """How a table's text is cut into cells, and which column holds what."""

    encoding: str
    delimiter: str
    header: tuple[str, ...]
    columns: Columns


def find_layout(path: Path, delimiter: str | None = None) -> Layout:
    """The layout that a table's header tells.

    Args:
        path: the table.
        delimiter: what stands between cells; without it, the one of `DELIMITERS` by which the
            header has an image column and the most columns.

    Raises:
        AnnotationError: the file is not text, or its header names no image or no labels.
    """
    encoding = find_encoding(path)
    headers = {
        each: _read_header(path, encoding, each)
        for each in ([delimiter] if delimiter else DELIMITERS)
    }
    images = {each: image_column(cells) for each, cells in headers.items()}
    if all(image is None for image in images.values()):
        widest = max(headers, key=lambda each: len(headers[each]))
        header = headers[widest]
        sample = _sample(path, encoding, widest, header)
        raise AnnotationError.at(path, 1, _header_message(header, holds_images(header, sample)))
    chosen = max(
        (each for each in headers if images[each] is not None), key=lambda each: len(headers[each])
    )
    header, image = headers[chosen], images[chosen]
    assert image is not None
    _check_names_once(path, header)
    columns = find_columns(header, image, _sample(path, encoding, chosen, header))
    if not columns.labels and not columns.label_columns:
        raise AnnotationError.at(path, 1, "expected a column 'labels' or one column per label")
    return Layout(encoding, chosen, header, columns)


def _header_message(header: Sequence[str], images: str | None) -> str:
    message = (
        "no column is called image, file_name, filename, path or file; the first line must name "
        f"the columns, and holds: {', '.join(header[:6])}"
    )
    return message + (f"; '{images}' holds names of images: call it image" if images else "")


def _sample(path: Path, encoding: str, delimiter: str, header: Sequence[str]) -> list[list[str]]:
    """Some rows after the header that have its number of cells."""
    rows: list[list[str]] = []
    with long_cells(), open_text(path, encoding) as file, suppress(csv.Error):
        for cells in islice(csv.reader(file, delimiter=delimiter), SAMPLE_ROWS):
            if len(cells) == len(header) and [cell.strip() for cell in cells] != list(header):
                rows.append(cells)
    return rows


def _read_header(path: Path, encoding: str, delimiter: str) -> tuple[str, ...]:
    with long_cells(), open_text(path, encoding) as file:
        try:
            rows = csv.reader(file, delimiter=delimiter)
            cells = next((row for row in rows if row and not _SEP_LINE.fullmatch("".join(row))), [])
        except csv.Error as error:
            raise AnnotationError.at(
                path, 1, f"the header is not a row of cells ({error})"
            ) from error
    return tuple(cell.strip() for cell in cells)


def _check_names_once(path: Path, header: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in map(normal_label, header):
        if name and name in seen:
            raise AnnotationError.at(path, 1, f"two columns are called '{name}'")
        seen.add(name)


def iterate_rows(path: Path, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Each row after the header with the line on which it begins; rows without text are skipped."""
    width = len(layout.header)
    with long_cells(), open_text(path, layout.encoding) as file:
        reader = csv.reader(file, delimiter=layout.delimiter, strict=True)
        line, header_seen = 1, False
        try:
            for cells in reader:
                if not header_seen and _SEP_LINE.fullmatch("".join(cells)):
                    cells = []
                if header_seen and any(cells):
                    if len(cells) != width:
                        raise AnnotationError.at(path, line, _width_message(len(cells), width))
                    yield line, cells
                header_seen = header_seen or bool(cells)
                line = reader.line_num + 1
        except csv.Error as error:
            raise AnnotationError.at(path, line, _csv_message(error)) from error


def _width_message(count: int, width: int) -> str:
    cells = "1 cell" if count == 1 else f"{count} cells"
    message = f"{cells} where the header names {width}"
    if count > width:
        message += "; a cell that holds the delimiter must stand in double quotes"
    return message


def _csv_message(error: csv.Error) -> str:
    if "unexpected end of data" in str(error):
        return "a quoted cell begins in this row and is never closed"
    return f"the quotes in this row do not match ({error})"
