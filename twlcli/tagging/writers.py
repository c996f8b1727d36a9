"""Tags as CSV and JSONL, written so that no half file carries the final name."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, TextIO

from twlcli.annotations.table import SEPARATORS
from twlcli.errors import TwlError
from twlcli.labels import Vocabulary

DECIMALS = 4


@dataclass(frozen=True)
class Tags:
    """The labels given to one image, the most probable first, with their probabilities."""

    image: str
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Failure:
    """An image that could not be tagged, and why."""

    image: str
    reason: str


class Writer(Protocol):
    """Anything that takes the tags of one image after the other."""

    def write(self, tags: Tags) -> None:
        """Take the tags of one image."""


class CsvWriter:
    r"""Rows `image,labels,probabilities` that `twl train` reads back.

    The labels of a cell are separated by `|`, and so are the probabilities. Where a label of the
    vocabulary holds a separator itself or begins with `[`, all cells are JSON lists. The text is
    UTF-8; a name that is not stands there with its own bytes.

    Example:
        image,labels,probabilities
        beach/1.jpg,dog|person,0.93|0.71
    """

    def __init__(self, file: TextIO, vocabulary: Vocabulary) -> None:
        self._write_row = _csv_rows(file)
        self._write_row(["image", "labels", "probabilities"])
        self._as_json = any(
            label.startswith("[") or any(separator in label for separator in SEPARATORS)
            for label in vocabulary
        )

    def write(self, tags: Tags) -> None:
        """Write one row."""
        probabilities = [round(value, DECIMALS) for value in tags.probabilities]
        if self._as_json:
            labels = json.dumps(tags.labels, ensure_ascii=False)
            cells = [tags.image, labels, json.dumps(probabilities)]
        else:
            cells = [tags.image, "|".join(tags.labels), "|".join(map(str, probabilities))]
        self._write_row(cells)


def _csv_rows(file: TextIO) -> Callable[[list[str]], None]:
    r"""Writes rows that end in \n, with quotes where a cell needs them.

    Python's csv module would leave a lone \r without quotes, and readers take it as a line's end.
    """
    plain = csv.writer(file, lineterminator="\n")
    quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def write_row(cells: list[str]) -> None:
        writer = quoted if any("\r" in cell for cell in cells) else plain
        writer.writerow(cells)

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


WRITERS: dict[str, Callable[[TextIO, Vocabulary], Writer]] = {
    "csv": CsvWriter,
    "jsonl": JsonlWriter,
}


def format_of(path: Path | None, wish: str | None) -> str:
    """The format wished for, else that of the file's suffix, else CSV for the standard output.

    Raises:
        TwlError: the format is not known, or neither wish nor suffix names one.
    """
    known = ", ".join(WRITERS)
    if wish is not None:
        if wish not in WRITERS:
            raise TwlError(f"format '{wish}' is not known (known: {known})")
        return wish
    if path is None:
        return "csv"
    name = path.suffix.lower().removeprefix(".")
    if name not in WRITERS:
        raise TwlError(
            f"{path}: the suffix '{path.suffix}' names no format; expected .csv or .jsonl, "
            f"or --format with one of {known}"
        )
    return name


def check_free(path: Path, *, force: bool) -> None:
    """Raise TwlError where `path` must not or cannot be written."""
    if path.is_dir():
        raise TwlError(f"{path}: is a folder, expected the name of a file")
    if path.exists() and not force:
        raise TwlError(f"{path}: exists already; --force replaces it")
    if not path.parent.is_dir():
        raise TwlError(f"{path}: there is no folder {path.parent}")


def partial_path(path: Path) -> Path:
    """Where rows lie until `path` is complete."""
    return path.with_name(path.name + ".partial")


@contextmanager
def open_writer(
    path: Path | None, format_name: str, vocabulary: Vocabulary, *, standard_output: BinaryIO
) -> Iterator[Writer]:
    """A writer to a file as `_open_complete` does, or to the standard output where `path` is None.

    Raises:
        TwlError: the file cannot be written.
    """
    opened = _text_on(standard_output) if path is None else _open_complete(path)
    with opened as file:
        yield WRITERS[format_name](file, vocabulary)


@contextmanager
def open_failures(path: Path | None) -> Iterator[Callable[[Failure], None]]:
    """Takes failures into a CSV file `image,error`, or nowhere where `path` is None.

    Raises:
        TwlError: the file cannot be written.
    """
    if path is None:
        yield lambda failure: None
        return
    with _open_complete(path) as file:
        write_row = _csv_rows(file)
        write_row(["image", "error"])
        yield lambda failure: write_row([failure.image, failure.reason])


@contextmanager
def _text_on(binary: BinaryIO) -> Iterator[TextIO]:
    """UTF-8 text on an open binary stream, which stays open; each row is visible at once."""
    text = io.TextIOWrapper(
        binary, encoding="utf-8", errors="surrogateescape", newline="", write_through=True
    )
    try:
        yield text
    finally:
        text.detach()


@contextmanager
def _open_complete(path: Path) -> Iterator[TextIO]:
    """A text file that gets its name when the block ends well.

    Until then, and for good where the block ends by an exception, it is `NAME.partial`.
    """
    partial = partial_path(path)
    try:
        with partial.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        raise TwlError(f"{path}: cannot be written ({error.strerror or error})") from error
