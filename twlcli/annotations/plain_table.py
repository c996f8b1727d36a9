"""Reading tables of millions of rows: those with lists of labels and nothing unusual in them.

`table.read_table` goes through a table row by row, three times, as rows can hold much. Here rows
are taken by the thousand, and what they may mean is looked at once for each different label. What
is found is the same; where anything is not plain, nothing is said, and the table is read row by
row.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from functools import partial
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.builder import (
    AnnotationBuilder,
    normal_image,
    normal_label,
    normal_split,
    on_share,
)
from twlcli.annotations.csv_cells import text_of_cell
from twlcli.annotations.csv_layout import Layout, iterate_rows
from twlcli.annotations.marks import MISSING
from twlcli.annotations.names import Names
from twlcli.annotations.plain_cells import Column, NotPlainError, blocks
from twlcli.annotations.rows import BLANKS, SHEET
from twlcli.annotations.rules import Rules
from twlcli.annotations.separators import CALLS, SEPARATORS, Separator, find_separator
from twlcli.annotations.split_columns import split_name
from twlcli.errors import AnnotationError
from twlcli.labels import MOST_LABELS, why_no_label

_SAMPLE_ROWS = 1000  # that show what separates labels
_NONE = -1  # in place of the column of a label that is empty

# What a cell may begin with that is no plain list of labels; a list of numbers may be a vector.
_OF_A_PROGRAM = re.compile(rf"\s*(?:[\[({{]|b[\"']|{CALLS})")
_NUMBERS = re.compile(r"[-\d.\s,;|]+")
_NUMBER = re.compile(r"-?[1-9][0-9]*|0")
_BITS = re.compile(r"[01]*")


def add_plain(builder: AnnotationBuilder, path: Path, layout: Layout) -> bool:
    """Add a table's rows to an empty builder, as `table.add_table` would without any options.

    Args:
        builder: where the rows go.
        path: the table.
        layout: its layout.

    Returns:
        Whether they were added; False where something in the table is not plain, of which the
        builder then knows nothing.
    """
    columns = layout.columns
    may_be_plain = (
        layout.encoding != SHEET
        and layout.delimiter != BLANKS
        and layout.rows_before <= 1
        and len(columns.labels) == 1
        and columns.unknown is None
        and columns.vocabulary is None
        and columns.verdict is None
        and not columns.by_annotators
        and not layout.ragged
        and not layout.classes
    )
    if not may_be_plain:
        return False
    try:
        table = _Rows(path, layout)
        table.read()
    except (AnnotationError, csv.Error, NotPlainError):
        return False  # whatever is wrong, who reads row by row knows its line
    table.hand_over(builder)
    return True


class _Rows:
    """The rows of a table: images as one block of text, labels as numbers."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path, self.layout = path, layout
        self.separator = self._separator()
        self.is_separated = False  # in some cell
        self.labels: dict[str, int] = {}  # columns of labels as they are written, in order
        self.columns: dict[str, int] = {"": _NONE}  # of names
        self.names: list[Names] = []
        self.hashes: list[NDArray[np.int64]] = []  # of images
        self.lengths: list[NDArray[np.int64]] = []  # labels of each row
        self.entries: list[NDArray[np.int32]] = []  # their columns
        self.splits = Column(partial(_split_of_cell, layout))
        self.groups = Column(_group_of_cell)

    def _separator(self) -> str:
        """What the first rows say; `_check_label` sees that all others say nothing else."""
        place = self.layout.columns.labels[0]
        rows = zip(iterate_rows(self.path, self.layout), range(_SAMPLE_ROWS), strict=False)
        cells = [(line, cells[place]) for (line, cells), _ in rows]
        separator = find_separator(cells, of=self.path, may_be_blank=False)
        if separator.text not in SEPARATORS or separator.notes:
            raise NotPlainError
        return separator.text

    def read(self) -> None:
        """Read all rows.

        Raises:
            NotPlainError, AnnotationError, csv.Error: some are not plain, or something is wrong.
        """
        for cells in blocks(self.path, self.layout):
            self._add_images(cells[self.layout.columns.image])
            self._add_labels(cells[self.layout.columns.labels[0]])
            self.splits.add(cells, self.layout.columns.split)
            self.groups.add(cells, self.layout.columns.group)
        self._check_no_image_twice()
        self._check_no_vectors()
        self.found = self._found_separator()

    def _add_images(self, images: Sequence[str]) -> None:
        if self.layout.header[self.layout.columns.image] in images:
            raise NotPlainError
        if "./" in "".join(images):
            images = list(map(normal_image, images))
        if "" in images or on_share(images):
            raise NotPlainError
        self.names.append(Names.of(images))
        self.hashes.append(np.fromiter(map(hash, images), dtype=np.int64, count=len(images)))

    def _check_no_image_twice(self) -> None:
        hashes = np.sort(np.concatenate(self.hashes)) if self.hashes else np.empty(0, np.int64)
        if not len(hashes) or (hashes[1:] == hashes[:-1]).any():
            raise NotPlainError

    def _add_labels(self, cells: Sequence[str]) -> None:
        written = self.separator.join(cells).split(self.separator)
        self.is_separated |= len(written) > len(cells)
        try:
            columns = self._columns_of(written)
        except KeyError:
            self._add_new_labels(written)
            columns = self._columns_of(written)
        counts = np.fromiter(map(str.count, cells, repeat(self.separator)), np.int64, len(cells))
        lengths = counts + 1
        if not (is_label := columns != _NONE).all():
            rows = np.repeat(np.arange(len(cells)), lengths)[is_label]
            columns, lengths = columns[is_label], np.bincount(rows, minlength=len(cells))
        self.lengths.append(lengths)
        self.entries.append(columns)

    def _columns_of(self, written: Sequence[str]) -> NDArray[np.int32]:
        return np.fromiter(map(self.labels.__getitem__, written), np.int32, len(written))

    def _add_new_labels(self, written: Sequence[str]) -> None:
        for label in dict.fromkeys(written):
            if label not in self.labels:
                self._check_label(label)
                name = normal_label(label)
                self.labels[label] = self.columns.setdefault(name, len(self.columns) - 1)

    def _check_label(self, label: str) -> None:
        """See that a label, as it is written, gives a cell no other meaning than a list of some."""
        text = label.strip()
        if (
            len(self.columns) > MOST_LABELS
            or why_no_label(text)
            or text in MISSING
            or any(each in label for each in SEPARATORS)
            or _OF_A_PROGRAM.match(label)
            or (_NUMBERS.fullmatch(text) and not _NUMBER.fullmatch(text))
        ):
            raise NotPlainError

    def _check_no_vectors(self) -> None:
        """See that no cell may be a list of 1 and 0 with an entry for each label.

        A label that is no number, or another number, shows it, and that no row repeats one.
        """
        numbers = [name for name in self.columns if name and _NUMBERS.fullmatch(name)]
        if numbers and (self._repeats() or all(map(_BITS.fullmatch, self.columns))):
            raise NotPlainError

    def _repeats(self) -> bool:
        """Whether a row has a label twice."""
        for lengths, columns in zip(self.lengths, self.entries, strict=True):
            keys = np.sort(np.repeat(np.arange(len(lengths)), lengths) * MOST_LABELS + columns)
            if (keys[1:] == keys[:-1]).any():
                return True
        return False

    def _found_separator(self) -> Separator:
        if self.is_separated:
            return Separator(self.separator, shown=self.separator)
        whole = enumerate(self.labels, start=1)
        may_be_blank = not self.layout.columns.written_by_twl
        found = find_separator(whole, of=self.path, may_be_blank=may_be_blank)
        if found.text != self.separator:
            raise NotPlainError
        return found

    def hand_over(self, builder: AnnotationBuilder) -> None:
        """Give everything to a builder."""
        for note in self.found.notes:
            builder.note(note)
        builder.rules.append(Rules(self.path, self.found.shown))
        builder.whole_numbers = True
        order = [builder.column(name) for name in self.columns if name]
        columns = np.concatenate(self.entries)
        if order:
            columns = np.array(order, dtype=np.int32)[columns]
        starts = np.concatenate([np.zeros(1, dtype=np.int64), *self.lengths]).cumsum()
        count = len(starts) - 1
        builder.add_all(
            Names.joined(self.names),
            starts,
            columns,
            splits=self.splits.whole(count),
            groups=self.groups.whole(count),
            lines=np.arange(count) + self.layout.rows_before + 1,
        )


def _split_of_cell(layout: Layout, cell: str) -> str:
    assert layout.columns.split is not None
    name = text_of_cell(cell)
    return normal_split(name and split_name(layout.header[layout.columns.split], name))


def _group_of_cell(cell: str) -> str:
    return text_of_cell(cell.strip())
