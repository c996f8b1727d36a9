"""Tables that are no text: Parquet files, and the first sheet of Excel workbooks."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from twlcli.annotations.encoding import check_is_file, readable
from twlcli.errors import AnnotationError, needs_extra

SHEETS = (".parquet", ".xlsx")

_ROWS_AT_ONCE = 4096


def sheet_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table with their numbers, the header as row 1; cells as text.

    Empty cells are empty, lists become JSON, true and false 1 and 0, and whole numbers have no
    fraction.

    Raises:
        AnnotationError: the file cannot be read.
        MissingExtraError: the package that reads it is not installed.
    """
    check_is_file(path)
    rows = _parquet(path) if path.suffix.lower() == ".parquet" else _workbook(path)
    for number, row in enumerate(rows, start=1):
        yield number, [_text(value) for value in row]


def _parquet(path: Path) -> Iterator[Sequence[Any]]:
    with needs_extra("reading Parquet", "parquet"):
        from pyarrow import parquet
    with _damage_told(path, "Parquet"), parquet.ParquetFile(path) as file:
        yield file.schema_arrow.names
        for batch in file.iter_batches(_ROWS_AT_ONCE):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _workbook(path: Path) -> Iterator[Sequence[Any]]:
    with needs_extra("reading Excel workbooks", "xlsx"):
        import openpyxl
    with _damage_told(path, "an Excel workbook", hint="save it as CSV in UTF-8"):
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        with closing(book):
            yield from book.worksheets[0].iter_rows(values_only=True)


@contextmanager
def _damage_told(path: Path, what: str, *, hint: str = "") -> Iterator[None]:
    try:
        with readable(path):
            yield
    except AnnotationError:
        raise
    except Exception as error:  # on damaged files both libraries raise nearly anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        message = f"{path}: cannot be read as {what} ({reason})"
        raise AnnotationError(message, hint=hint) from error


def _item(value: Any) -> int | str:
    """An item of a list: numbers stay numbers."""
    if isinstance(value, int | float) and value == value and value in (int(value),):
        return int(value)
    return _text(value)


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, dict):  # an image as datasets of Hugging Face hold it
        return _text(value.get("path"))
    if isinstance(value, list):
        return json.dumps([_item(each) for each in value], ensure_ascii=False) if value else ""
    return str(value)
