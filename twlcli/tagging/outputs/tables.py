"""Tables of tags: CSV, JSONL and Parquet, written so that no half file carries the final name."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from twlcli.annotations.table import SEPARATORS
from twlcli.errors import TwlError
from twlcli.io import open_partial, write_errors
from twlcli.labels import Vocabulary
from twlcli.tagging.tags import Failure, Tags, Writer

DECIMALS = 4

# A spreadsheet runs a cell that begins with one of these, also after white space (OWASP, "CSV
# injection"); the last four are the same signs in the width of Chinese characters.
FORMULA_SIGNS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")


class CsvWriter:
    r"""Rows `image,labels,probabilities` that `twl train` reads back.

    The labels of a cell are separated by `|`, and so are the probabilities. Where a label of the
    vocabulary holds a separator itself, begins with `[` or would be run by a spreadsheet, all cells
    are JSON lists. The image's name is written by `cell_of_image`. The text is UTF-8; a name that
    is not stands there with its own bytes.

    Example:
        image,labels,probabilities
        beach/1.jpg,dog|person,0.93|0.71
    """

    def __init__(self, file: TextIO, vocabulary: Vocabulary) -> None:
        self._write_row = _csv_rows(file)
        self._write_row(["image", "labels", "probabilities"])
        self._as_json = any(
            label.startswith("[")
            or is_formula(label)
            or any(separator in label for separator in SEPARATORS)
            for label in vocabulary
        )

    def write(self, tags: Tags) -> None:
        """Write one row."""
        probabilities = [round(value, DECIMALS) for value in tags.probabilities]
        image = cell_of_image(tags.image)
        if self._as_json:
            labels = json.dumps(tags.labels, ensure_ascii=False)
            self._write_row([image, labels, json.dumps(probabilities)])
        else:
            self._write_row([image, "|".join(tags.labels), "|".join(map(str, probabilities))])


def is_formula(text: str) -> bool:
    """Whether a spreadsheet would run a cell with this text, or drop white space at its start."""
    return text[:1].isspace() or text[:1] in FORMULA_SIGNS


def cell_of_image(name: str) -> str:
    """An image's name as a CSV cell that no spreadsheet runs: `./` before one that it would.

    The path stays that of the same file, so that every reader still finds it; an apostrophe,
    which is what spreadsheets hide, would name another one. A name that has such a `./` already
    gets one more, so that different names stay different.

    >>> cell_of_image("=1+1.jpg"), cell_of_image("./=1+1.jpg"), cell_of_image("./1.jpg")
    ('./=1+1.jpg', '././=1+1.jpg', './1.jpg')
    """
    return f"./{name}" if is_formula(_undotted(name)) else name


def image_of_cell(cell: str) -> str:
    """The name of which `cell_of_image` made a cell."""
    return cell[2:] if cell.startswith("./") and is_formula(_undotted(cell)) else cell


def _undotted(name: str) -> str:
    while name.startswith("./"):
        name = name[2:]
    return name


def _csv_rows(file: TextIO) -> Callable[[list[str]], None]:
    r"""Writes rows that end in \n, with quotes where a cell needs them.

    Python's csv module would leave a lone \r without quotes, and readers take it as a line's end;
    and `;` and tabs, at which spreadsheets of some countries begin a new cell.
    """
    plain = csv.writer(file, lineterminator="\n")
    quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def write_row(cells: list[str]) -> None:
        special = any(sign in cell for cell in cells for sign in "\r;\t")
        (quoted if special else plain).writerow(cells)

    return write_row


class JsonlWriter:
    r"""One JSON object per line: `{"image": "beach/1.jpg", "labels": {"dog": 0.93}}`.

    The text is UTF-8; the bytes of a name that is not stand as escapes from `\udc80` to `\udcff`,
    which Python's `os.fsencode` turns into the name again.
    """

    def __init__(self, file: TextIO, vocabulary: Vocabulary) -> None:
        del vocabulary  # JSON can hold any label
        self._file = file

    def write(self, tags: Tags) -> None:
        """Write one line."""
        pairs = zip(tags.labels, tags.probabilities, strict=True)
        labels = {label: round(probability, DECIMALS) for label, probability in pairs}
        ascii_only = any("\ud800" <= character <= "\udfff" for character in tags.image)
        line = json.dumps({"image": tags.image, "labels": labels}, ensure_ascii=ascii_only)
        self._file.write(line + "\n")


TEXT_WRITERS: dict[str, Callable[[TextIO, Vocabulary], Writer]] = {
    "csv": CsvWriter,
    "jsonl": JsonlWriter,
}
FORMATS = (*TEXT_WRITERS, "parquet")


def format_of(path: Path | None, wish: str | None) -> str:
    """The format wished for, else that of the file's suffix, else CSV for the standard output.

    Raises:
        TwlError: the format is not known, neither wish nor suffix names one, or it is Parquet for
            the standard output.
    """
    known = ", ".join(FORMATS)
    if wish is not None:
        if wish not in FORMATS:
            raise TwlError(f"format '{wish}' is not known (known: {known})")
        if wish == "parquet" and path is None:
            raise TwlError("format 'parquet' needs a file: it is not for the standard output")
        return wish
    if path is None:
        return "csv"
    name = path.suffix.lower().removeprefix(".")
    if name not in FORMATS:
        raise TwlError(
            f"{path}: the suffix '{path.suffix}' names no format; expected .csv, .jsonl or "
            f".parquet, or --format with one of {known}"
        )
    return name


@contextmanager
def open_writer(
    path: Path | None,
    format_name: str,
    vocabulary: Vocabulary,
    *,
    standard_output: BinaryIO | None = None,
) -> Iterator[Writer]:
    """A writer to a file as `open_partial` does, or to the standard output where `path` is None.

    Args:
        path: the file; Parquet must have one.
        format_name: one of `FORMATS`.
        vocabulary: all labels that will be written; CSV's form depends on them.
        standard_output: where rows go without a file; not needed with one.

    Raises:
        TwlError: the file cannot be written.
        MissingExtraError: Parquet without pyarrow.
    """
    if format_name == "parquet":
        from twlcli.tagging.outputs.parquet import check_installed, parquet_writer

        check_installed()
        assert path is not None  # held by format_of
        with open_partial(path) as binary, parquet_writer(binary) as writer:
            yield writer
        return
    if path is None:
        assert standard_output is not None
        opened = _text_on(standard_output)
    else:
        opened = _open_text(path)
    with opened as file:
        yield TEXT_WRITERS[format_name](file, vocabulary)


@contextmanager
def open_failures(path: Path | None) -> Iterator[Callable[[Failure], None]]:
    """Takes failures into a CSV file `image,error`, or nowhere where `path` is None.

    Raises:
        TwlError: the file cannot be written.
    """
    if path is None:
        yield lambda failure: None
        return
    with _open_text(path) as file:
        write_row = _csv_rows(file)
        write_row(["image", "error"])
        yield lambda failure: write_row([cell_of_image(failure.image), failure.reason])


@contextmanager
def _text_on(binary: BinaryIO) -> Iterator[TextIO]:
    """UTF-8 text on the standard output, which stays open."""
    text = _StandardOutput(binary, encoding="utf-8", errors="surrogateescape", newline="")
    try:
        yield text
    finally:
        text.detach()


class _StandardOutput(io.TextIOWrapper):
    """Each row is visible at once."""

    def write(self, text: str) -> int:
        with write_errors("the standard output"):
            count = super().write(text)
            self.flush()
        return count


@contextmanager
def _open_text(path: Path) -> Iterator[TextIO]:
    """UTF-8 text into a file that gets its name when the block ends well."""
    with (
        open_partial(path) as binary,
        io.TextIOWrapper(binary, encoding="utf-8", errors="surrogateescape", newline="") as text,
    ):
        yield text
