"""Cutting a table's text into rows of cells."""

from __future__ import annotations

import csv
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from twlcli.annotations.encoding import LONGEST_LINE, open_text
from twlcli.annotations.sheets import sheet_rows
from twlcli.errors import AnnotationError

_SEP_LINE = re.compile(r"sep=.?")  # what Excel takes as the delimiter, above the header
DELIMITERS = (",", "\t", ";", "|")  # between cells
SHEET = "no text"  # in place of an encoding
BLANKS = " "  # any number of them and of tabs

_limit_lock = threading.Lock()
_limit_holders: list[int] = []  # the bound as it was before each of those who read now


@contextmanager
def long_cells() -> Iterator[None]:
    """Let the csv module read cells up to `LONGEST_LINE` inside the block.

    A cell that lists 10,000 labels is longer than its own bound of 131,072 characters. The bound is
    the whole interpreter's; the last of those who read at the same time sets it back.
    """
    with _limit_lock:
        _limit_holders.append(csv.field_size_limit(LONGEST_LINE))
    try:
        yield
    finally:
        with _limit_lock:
            before = _limit_holders.pop()
            if not _limit_holders:
                csv.field_size_limit(before)


def table_rows(
    path: Path, encoding: str, delimiter: str, *, strict: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Every row of a table with its line, the header among them; see `_cut`."""
    if encoding == SHEET:
        yield from sheet_rows(path)
        return
    with long_cells(), open_text(path, encoding) as file:
        yield from _cut(file, delimiter, strict=path if strict else None)


def _cut(
    file: TextIO, delimiter: str, *, strict: Path | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Each row with the line on which it begins; none for what Excel takes as the delimiter.

    Args:
        file: the table's text.
        delimiter: between cells.
        strict: the table's path, where quotes that do not match are an error of it.
    """
    if delimiter == BLANKS:
        for line, text in enumerate(file, start=1):
            yield line, text.split()
        return
    reader = csv.reader(file, delimiter=delimiter, strict=strict is not None)
    line, begun = 1, False
    try:
        for cells in reader:
            if not begun and cells:
                begun = not _SEP_LINE.fullmatch("".join(cells))
            yield line, cells if begun else []
            line = reader.line_num + 1
    except csv.Error as error:
        if strict is None:
            raise
        raise AnnotationError.at(strict, line, _csv_message(error)) from error


def _csv_message(error: csv.Error) -> str:
    if "unexpected end of data" in str(error):
        return "a quoted cell begins in this row and is never closed"
    return f"the quotes in this row do not match ({error})"
