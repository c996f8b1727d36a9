"""Tags, and failures, as CSV that spreadsheets open without harm."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from twlcli.annotations.separators import NEEDS_JSON
from twlcli.images.image_file import Failure, ImageFile
from twlcli.io import open_text
from twlcli.labels import Vocabulary
from twlcli.tagging.outputs.output import RunFacts, Sink
from twlcli.tagging.tags import Row, Tags

DECIMALS = 4
BOM = "\ufeff"

# A spreadsheet runs a cell that begins with one of these, also after white space (OWASP, "CSV
# injection"); the last four are the same signs in the width of Chinese characters.
FORMULA_SIGNS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")


@dataclass(frozen=True)
class Csv:
    r"""A table `image,labels,probabilities` that `twl train` reads back.

    The labels of a cell are separated by `|`, and so are the probabilities. Where a label of the
    vocabulary holds a separator itself, begins with `[` or would be run by a spreadsheet, all cells
    are JSON lists. The image's name is written by `cell_of_image`. The text is UTF-8; a name that
    is not stands there with its own bytes.

    Attributes:
        file: the table; None for a stream.
        stream: where the rows go without a file; each is visible at once.
        bom: begin with a byte order mark, from which Excel knows that the text is UTF-8.

    Example:
        image,labels,probabilities
        beach/1.jpg,dog|person,0.93|0.71
    """

    file: Path | None
    stream: BinaryIO | None = None
    bom: bool = False

    @contextmanager
    def open(self, run: RunFacts) -> Iterator[Sink]:
        """As an `Output` does."""
        with open_text(self.file, self.stream) as file:
            file.write(BOM if self.bom else "")
            yield CsvSink(file, run.vocabulary)


class CsvSink:
    """Writes the rows of a `Csv`."""

    def __init__(self, file: TextIO, vocabulary: Vocabulary) -> None:
        self._write_row = _row_writer(file)
        self._write_row(["image", "labels", "probabilities"])
        self._as_json = any(
            is_formula(label) or NEEDS_JSON.search(label) is not None for label in vocabulary
        )

    def write(self, file: ImageFile, row: Row) -> None:
        """Write one row."""
        if not isinstance(row, Tags):
            return
        probabilities = [round(value, DECIMALS) for value in row.probabilities]
        image = cell_of_image(row.image)
        if self._as_json:
            labels = json.dumps(row.labels, ensure_ascii=False)
            self._write_row([image, labels, json.dumps(probabilities)])
        else:
            self._write_row([image, "|".join(row.labels), "|".join(map(str, probabilities))])


@dataclass(frozen=True)
class FailureTable:
    """A table `image,error` of the images that failed, in CSV; `bom` as for `Csv`."""

    file: Path
    bom: bool = False

    @contextmanager
    def open(self, run: RunFacts) -> Iterator[Sink]:
        """As an `Output` does."""
        with open_text(self.file) as file:
            file.write(BOM if self.bom else "")
            yield _FailureSink(file)


class _FailureSink:
    def __init__(self, file: TextIO) -> None:
        self._write_row = _row_writer(file)
        self._write_row(["image", "error"])

    def write(self, file: ImageFile, row: Row) -> None:
        """Write one row, if it is a failure."""
        if isinstance(row, Failure):
            self._write_row([cell_of_image(row.image), row.reason])


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


def _row_writer(file: TextIO) -> Callable[[list[str]], None]:
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
