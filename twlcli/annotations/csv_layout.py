"""How a table's text is cut into cells, and which column holds what."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from twlcli.annotations.builder import SPLIT_NAMES, normal_label
from twlcli.annotations.columns import Columns, find_columns, image_column
from twlcli.annotations.encoding import find_encoding, open_text
from twlcli.annotations.guess import guess_image, guess_labels, question, wrong_marks
from twlcli.annotations.marks import is_mark, number_in
from twlcli.annotations.named_columns import NamedColumns, find_named, listed, normal_name, place_of
from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.annotations.rows import BLANKS, DELIMITERS, SHEET, table_rows
from twlcli.annotations.sheets import NO_CLASS, NO_PATH, SHEETS, classes_of, notes_of
from twlcli.annotations.split_columns import INDICATORS
from twlcli.errors import AnnotationError
from twlcli.images.image_file import is_image
from twlcli.labels import some_of

SAMPLE_ROWS = 1000  # that show what the columns hold
_COUNT = 32  # characters in which a number of images fits
_MOST = 0.9  # share of the cells and rows that show what a table without a header holds

_MOST_COLUMNS = 100_000  # the largest vocabularies with a column for each label have 20,000


@dataclass(frozen=True)
class Layout:
    """How a table's text is cut into cells, and which column holds what.

    Attributes:
        encoding: of the text; `SHEET` where it is none.
        delimiter: between cells; `BLANKS` is any number of blanks and tabs.
        header: the columns' names.
        columns: which of them holds what.
        rows_before: rows above the first image: 1 for a header, 0 where there is none.
        ragged: whether rows may be shorter than the header.
        count: of images that the file itself tells.
        classes: the labels, where the file itself names all; as a last cell of the first row.
        notes: what was decided that the user may want to know.
    """

    encoding: str
    delimiter: str
    header: tuple[str, ...]
    columns: Columns
    rows_before: int = 1
    ragged: bool = False
    count: int | None = None
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def find_layout(
    path: Path, options: ReadOptions = DEFAULTS, *, delimiter: str | None = None
) -> Layout:
    """The layout that a table's header tells, or its first row where that is an image already.

    Args:
        path: the table.
        options: those that name columns.
        delimiter: what stands between cells; without it, the one of `DELIMITERS` by which the
            header has an image column and the most columns.

    Raises:
        AnnotationError: the file is not text, or its header names no image or no labels; lists the
            header, and asks about the columns that look like them.
    """
    if path.suffix.lower() in SHEETS:
        encoding, delimiter = SHEET, DELIMITERS[0]
    else:
        encoding = find_encoding(path)
    table = _Table(path, encoding, options)
    if delimiter is None and (counted := _below_a_count(table)):
        return counted
    headers = {each: table.first_row(each) for each in ([delimiter] if delimiter else DELIMITERS)}
    images = {each: _image_place(header, options) for each, header in headers.items()}
    if all(image is None for image in images.values()):
        if without := _without_header(table, [delimiter] if delimiter else [*DELIMITERS, BLANKS]):
            return without
        if delimiter is not None:
            _check_delimiter(table, delimiter)
        raise _no_image_column(table, max(headers, key=lambda each: len(headers[each])))
    places = {each: image for each, image in images.items() if image is not None}
    chosen = max(places, key=lambda each: len(headers[each]))
    return table.layout(chosen, headers[chosen], places[chosen])


@dataclass(frozen=True)
class _Table:
    """A table whose layout is to be found."""

    path: Path
    encoding: str
    options: ReadOptions

    def first_row(self, delimiter: str) -> tuple[str, ...]:
        try:
            rows = table_rows(self.path, self.encoding, delimiter)
            cells = next((cells for _, cells in rows if cells), [])
        except csv.Error as error:
            message = f"the header is not a row of cells ({error})"
            raise AnnotationError.at(self.path, 1, message) from error
        if len(cells) > _MOST_COLUMNS:
            message = f"{len(cells):,} columns; at most {_MOST_COLUMNS:,} are read"
            raise AnnotationError.at(self.path, 1, message)
        return tuple(cell.strip() for cell in cells)

    def sample(self, delimiter: str, header: Sequence[str] | None = None) -> list[list[str]]:
        """Some rows; with a header those that come after it and have its number of cells."""
        rows: list[list[str]] = []
        with suppress(csv.Error):
            for _, cells in islice(table_rows(self.path, self.encoding, delimiter), SAMPLE_ROWS):
                if header is None:
                    rows += [cells] if any(cells) else []
                elif len(cells) == len(header) and [cell.strip() for cell in cells] != list(header):
                    rows.append(cells)
        return rows

    def layout(
        self,
        delimiter: str,
        header: tuple[str, ...],
        image: int,
        *,
        rows_before: int = 1,
    ) -> Layout:
        """The layout of a table with this header."""
        _check_names_once(self.path, header)
        named = find_named(self.path, header, self.options)
        sample = self.sample(delimiter, header)
        columns = find_columns(header, image, sample, named)
        self._check_one_split(header, named)
        if any(row[image] == NO_PATH for row in sample):
            message = f"the column '{header[image]}' holds files themselves, not their paths"
            hint = "save them as files, and name a column of their paths with {image_column}"
            raise AnnotationError.at(self.path, rows_before, message, hint=hint)
        if not columns.labels and not columns.label_columns:
            taken = (image, columns.split, columns.group, *named.ignored)
            asked, hint = question(header, image=None, labels=guess_labels(header, sample, taken))
            message = (
                "expected a column 'labels', or columns of 1 and 0 for each label; the columns "
                f"are: {listed(header)}{asked or wrong_marks(header, sample)}"
            )
            raise AnnotationError.at(self.path, rows_before, message, hint=hint)
        notes = _note_of_nameless(header, columns, sample)
        layout = Layout(self.encoding, delimiter, header, columns, rows_before, notes=tuple(notes))
        return self._of_sheet(layout) if self.encoding == SHEET else layout

    def _of_sheet(self, layout: Layout) -> Layout:
        """The layout with what the file says of itself."""
        header, columns = layout.header, layout.columns
        read = {*columns.labels, *columns.label_columns, columns.image, columns.split}
        read |= {columns.group, columns.unknown, columns.vocabulary, columns.verdict}
        places = sorted(place for place in read if place is not None)
        notes = notes_of(self.path, header, columns.image, places) + list(layout.notes)
        if len(columns.labels) == 1:
            classes, without = classes_of(self.path, header[columns.labels[0]])
            if without:
                notes.append(f"images left out because their class is -1, not known: {without:,}")
            if classes and columns.vocabulary is None and self.options.names is None:
                columns = replace(columns, vocabulary=len(header))
                header = (*header, "vocabulary")
                layout = replace(layout, header=header, columns=columns, classes=classes)
        return replace(layout, notes=tuple(notes))

    def _check_one_split(self, header: Sequence[str], named: NamedColumns) -> None:
        """Raise AnnotationError where several columns say each of one split who is in it."""
        names = [
            name
            for place, name in enumerate(header)
            if normal_name(name) in INDICATORS and place not in named.ignored
        ]
        if named.split is None and len(names) > 1:
            message = f"several columns say which split an image is in: {listed(names)}"
            hint = f"{{split_column}} {names[0]} reads one; a column 'split' has room for all"
            raise AnnotationError.at(self.path, 1, message, hint=hint)


def _image_place(header: Sequence[str], options: ReadOptions) -> int | None:
    if options.image_column is None:
        return image_column(header)
    return header.index(options.image_column) if options.image_column in header else None


def _check_delimiter(table: _Table, told: str) -> None:
    """Raise AnnotationError where another delimiter than the one told makes a header of images."""
    for other in DELIMITERS:
        if _image_place(table.first_row(other), table.options) is not None:
            names = {"\t": "tabs"}
            message = f"its cells are separated by '{other}', not by {names.get(told, repr(told))}"
            raise AnnotationError.at(table.path, 1, message, hint="{format} csv reads it so")


def _no_image_column(table: _Table, delimiter: str) -> AnnotationError:
    header, options = table.first_row(delimiter), table.options
    if options.image_column is not None:
        place_of(table.path, header, options.image_column)  # raises
    asked, hint = "", ""
    if not any(map(is_image, header)):  # it would be a row as well
        sample = table.sample(delimiter, header)
        image = guess_image(header, sample, Path(options.images or table.path.parent))
        if image is not None:
            named = find_named(table.path, header, options)
            columns = find_columns(header, image, sample, named)
            labels = None
            if not columns.labels and not columns.label_columns:
                taken = (image, columns.split, columns.group, *named.ignored)
                labels = guess_labels(header, sample, taken)
            asked, hint = question(header, image=image, labels=labels)
    message = (
        "no column is called image, file_name, filename, path or file; the first line must name "
        f"the columns, and holds: {listed(header)}{asked}"
    )
    return AnnotationError.at(table.path, 1, message, hint=hint)


def _below_a_count(table: _Table) -> Layout | None:
    """The layout of lists of attributes as CelebA's: the number of images, the names, the rows."""
    with open_text(table.path, table.encoding) as file:
        count = file.readline(_COUNT).strip()
        if not count.isdecimal():
            return None
        names, first = file.readline().split(), file.readline().split()
    if not first or not is_image(first[0]):
        return None
    if len(first) == len(names) + 1:
        names = ["image", *names]
    if len(first) != len(names) or len(names) < 2:
        return None
    named = table.options.image_column
    place = 0 if named is None else place_of(table.path, names, named)
    layout = table.layout(BLANKS, tuple(names), place, rows_before=2)
    return replace(layout, count=int(count))


def _without_header(table: _Table, delimiters: Sequence[str]) -> Layout | None:
    """The layout of a table whose first row is an image and its labels."""
    if any(name.endswith(("_column", "_columns")) for name in table.options.given()):
        return None
    for delimiter in delimiters:
        first = table.first_row(delimiter)
        if len(first) > 1 and is_image(first[0]):
            break
    else:
        return None
    rows = table.sample(delimiter)
    values = [cell.strip() for row in rows for cell in row[1:]]
    marks = sum(is_mark(value) or not value for value in values)
    same = sum(len(row) == len(first) for row in rows)
    note = f"the first row is no header: it begins with the image '{first[0]}'"
    if len(first) > 2 and marks >= _MOST * len(values) and same >= _MOST * len(rows):
        header = ("image", *map(str, range(1, len(first))))
        columns = Columns(image=0, label_columns=tuple(range(1, len(first))))
        return Layout(table.encoding, delimiter, header, columns, rows_before=0, notes=(note,))
    _check_no_boxes(table.path, rows)
    width = len(first)
    for _, cells in table_rows(table.path, table.encoding, delimiter, strict=True):
        width = max(width, len(cells))
    split = _split_place(rows, len(first))
    columns = Columns(
        image=0, split=split, labels=tuple(each for each in range(1, width) if each != split)
    )
    header = ("image", *["labels"] * (width - 1))
    notes = (note,) if split is None else (note, f"column {split + 1} was read as the split")
    return Layout(table.encoding, delimiter, header, columns, 0, ragged=True, notes=notes)


def _check_no_boxes(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Raise AnnotationError where nearly all rows hold boxes with their classes behind the image.

    Either the cells behind the image are one, as for RetinaNet, or each is, as for keras-yolo3.
    """
    behind = [[cell for cell in map(str.strip, row[1:]) if cell] for row in rows]
    behind = [cells for cells in behind if cells]
    boxes = sum(_is_box(row) or all(_is_box(cell.split(",")) for cell in row) for row in behind)
    if boxes and boxes >= _MOST * len(behind):
        message = f"'{','.join(behind[0])[:60]}' looks like the corners of a box and its class"
        hint = "keep the class alone, or write boxes as COCO or YOLO has them"
        raise AnnotationError.at(path, 1, f"{message}; expected labels", hint=hint)


def _is_box(cells: Sequence[str]) -> bool:
    """Whether cells are two corners and a class; of a class by number the second is beyond."""
    numbers = [number for number in map(number_in, cells[:4]) if number is not None]
    if len(cells) != 5 or len(numbers) < 4:
        return False
    return number_in(cells[4]) is None or (numbers[0] < numbers[2] and numbers[1] < numbers[3])


def _split_place(rows: Sequence[Sequence[str]], width: int) -> int | None:
    """The column beside others, or of several names, that holds nothing but names of splits."""
    for place in range(width - 1, 0, -1):
        cells = {row[place].strip().casefold() for row in rows if len(row) > place}
        if cells <= SPLIT_NAMES.keys() and width > 2:
            return place
    return None


def _note_of_nameless(
    header: Sequence[str], columns: Columns, sample: Sequence[Sequence[str]]
) -> list[str]:
    """A note of columns of marks without a name, but for an index at the beginning."""
    nameless = [
        str(place + 1)
        for place, name in enumerate(header)
        if place and not name and any(is_mark(row[place].strip()) for row in sample)
    ]
    if not nameless or columns.labels:
        return []
    return [f"columns without a name were not read: {some_of(nameless)}"]


def _check_names_once(path: Path, header: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in map(normal_label, header):
        if name and name in seen:
            message = f"two columns are called '{name}'; rename or remove one"
            raise AnnotationError.at(path, 1, message)
        seen.add(name)


def iterate_rows(path: Path, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Each row after the header with the line on which it begins; rows without text are skipped."""
    width, before = len(layout.header), layout.rows_before
    header = list(layout.header) if before else None
    classes = json.dumps(layout.classes)
    for line, cells in table_rows(path, layout.encoding, layout.delimiter, strict=True):
        if before:
            before -= bool(cells)
        elif any(cells):
            if cells == header:
                message = (
                    "the header stands here again, as where files were joined; remove the line"
                )
                raise AnnotationError.at(path, line, message)
            if len(cells) < width and layout.ragged:
                cells += [""] * (width - len(cells))
            if layout.encoding == SHEET:
                if any(cells[place] == NO_CLASS for place in layout.columns.labels):
                    continue
                cells = ["" if cell == NO_CLASS else cell for cell in cells]
            if layout.classes:
                cells, classes = [*_of_classes(cells, layout.columns.labels), classes], ""
            if len(cells) != width:
                raise AnnotationError.at(path, line, _width_message(len(cells), layout))
            yield line, cells


def _of_classes(cells: Sequence[str], labels: Sequence[int]) -> list[str]:
    """A row with the name of a class as a list of it, as the name may hold a separator."""
    return [
        json.dumps([cell]) if place in labels and cell[:1] not in ("", "[") else cell
        for place, cell in enumerate(cells)
    ]


def _width_message(count: int, layout: Layout) -> str:
    cells, width = "1 cell" if count == 1 else f"{count} cells", len(layout.header)
    names = "the header names" if layout.rows_before else "the first row has"
    message = f"{cells} where {names} {width}"
    if count > width and layout.encoding != SHEET and layout.delimiter != BLANKS:
        message += "; a cell that holds the delimiter must stand in double quotes"
    return message
