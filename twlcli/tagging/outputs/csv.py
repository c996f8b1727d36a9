"""Tags, and failures, as CSV that spreadsheets open without harm."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from twlcli.annotations.csv_cells import cell_of_image, cell_of_text, need_json, row_writer
from twlcli.images.image_file import Failure, ImageFile
from twlcli.io import open_text
from twlcli.labels import Vocabulary
from twlcli.tagging.outputs.output import RunFacts, Sink
from twlcli.tagging.tags import Row, Tags

DECIMALS = 4
BOM = "\ufeff"


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
        self._write_row = row_writer(file)
        self._write_row(["image", "labels", "probabilities"])
        self._as_json = need_json(vocabulary)

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
        self._write_row = row_writer(file)
        self._write_row(["image", "error"])

    def write(self, file: ImageFile, row: Row) -> None:
        """Write one row, if it is a failure."""
        if isinstance(row, Failure):
            self._write_row([cell_of_image(row.image), cell_of_text(row.reason)])
