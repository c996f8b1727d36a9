"""The cells of a plain table, column by column: some thousands of rows at a time, each one line."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.categories import Categories
from twlcli.annotations.csv_layout import Layout
from twlcli.annotations.encoding import open_text
from twlcli.annotations.rows import long_cells

_CHARACTERS = 1 << 18  # read at a time


class NotPlainError(Exception):
    """Something for which rows have to be looked at one by one."""


def blocks(path: Path, layout: Layout) -> Iterator[list[Sequence[str]]]:
    """The columns of some thousands of rows at a time, of which each is one line.

    Raises:
        NotPlainError: the header is not the layout's, or a row is not one line of as many cells.
        csv.Error: quotes do not match.
        AnnotationError: the text cannot be read.
    """
    before = layout.rows_before
    with long_cells(), open_text(path, layout.encoding) as file:
        while text := file.read(_CHARACTERS):
            text = (text + file.readline()).replace("\r\n", "\n").removesuffix("\n")
            columns = _cut(text, layout.delimiter, len(layout.header))
            if before:
                before = 0
                if tuple(column[0].strip() for column in columns) != layout.header:
                    raise NotPlainError
                columns = [column[1:] for column in columns]
            if columns[0]:
                yield columns


def _cut(text: str, delimiter: str, width: int) -> list[Sequence[str]]:
    """The cells of lines, column by column."""
    lines = text.split("\n")
    if "\r" in text:
        raise NotPlainError
    if '"' not in text:
        if set(map(str.count, lines, repeat(delimiter))) != {width - 1}:
            raise NotPlainError
        cells = text.replace("\n", delimiter).split(delimiter)
        return [cells[place::width] for place in range(width)]
    rows = list(csv.reader(lines, delimiter=delimiter, strict=True))
    if len(rows) != len(lines) or set(map(len, rows)) != {width}:
        raise NotPlainError
    return list(zip(*rows, strict=True))


class Column:
    """The cells of a column with few different texts in it."""

    def __init__(self, meaning: Callable[[str], str]) -> None:
        self._meaning = meaning  # of what is written
        self._number_of: dict[str, int] = {}
        self._texts: dict[str, int] = {}
        self._numbers: list[NDArray[np.int32]] = []

    def add(self, cells: Sequence[Sequence[str]], place: int | None) -> None:
        """Add those of some rows."""
        if place is None:
            return
        for cell in dict.fromkeys(cells[place]):
            if cell not in self._number_of:
                text = self._meaning(cell)
                self._number_of[cell] = self._texts.setdefault(text, len(self._texts))
        numbers = map(self._number_of.__getitem__, cells[place])
        self._numbers.append(np.fromiter(numbers, np.int32, len(cells[place])))

    def whole(self, count: int) -> Categories:
        """The texts of all rows; empty ones where there is no such column."""
        if not self._numbers:
            return Categories.repeated("", count)
        return Categories(tuple(self._texts), np.concatenate(self._numbers))
