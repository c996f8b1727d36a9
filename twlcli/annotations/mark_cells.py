"""Cells of columns of a label each: 1 present, 0 absent, -1 and blanks by the rule of the table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from twlcli.annotations.builder import AnnotationBuilder
from twlcli.annotations.columns import few
from twlcli.annotations.csv_layout import Layout, iterate_rows
from twlcli.annotations.label_names import LabelNames
from twlcli.annotations.list_cells import shortened
from twlcli.annotations.marks import CELL_VALUES, MISSING, mark_value
from twlcli.annotations.read_options import ReadOptions
from twlcli.annotations.rules import Rules
from twlcli.errors import AnnotationError
from twlcli.labels import ABSENT, PRESENT, UNKNOWN

# From a row's line and cells to the columns of its present and of its unknown labels.
Parse = Callable[[int, list[str]], tuple[tuple[int, ...], tuple[int, ...]]]


def mark_parser(
    builder: AnnotationBuilder,
    path: Path,
    layout: Layout,
    options: ReadOptions,
    names: LabelNames | None,
) -> Parse:
    """From a row's cells to the columns of its present and of its unknown labels."""
    places = layout.columns.label_columns
    labels = dict(zip(places, _label_names(path, layout, names), strict=True))
    columns = [builder.columns([name])[0] for name in labels.values()]
    meaning = _meaning(builder, path, layout, options, labels)
    words = layout.columns.words
    if named := [place for place in places if place in words]:
        builder.note(_note_of_words(layout, named))

    def parse(line: int, cells: list[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        present, unknown = [], []
        for place, column in zip(places, columns, strict=True):
            cell = cells[place]
            if cell == "0":  # nearly all of them
                continue
            value, is_empty = CELL_VALUES.get(cell), False
            if value is None:
                cell = cell.strip()
                is_empty = not cell or cell in MISSING
                value = meaning.empty[place] if is_empty else mark_value(cell, words.get(place))
                if is_empty and value == UNKNOWN and meaning.of_empty:
                    builder.note(meaning.of_empty)
            if value is None:
                message, hint = _value_message(cell, layout, place)
                raise AnnotationError.at(path, line, message, hint=hint)
            if value == PRESENT:
                present.append(column)
            elif value == UNKNOWN and (is_empty or meaning.minus_one == UNKNOWN):
                unknown.append(column)
        return tuple(present), tuple(unknown)

    return parse


def _note_of_words(layout: Layout, places: Sequence[int]) -> str:
    (present, absent) = layout.columns.words[places[0]]
    names = few([layout.header[place] for place in places])
    return f"'{present}' was read as present and '{absent}' as absent in columns of labels: {names}"


def _label_names(path: Path, layout: Layout, names: LabelNames | None) -> Sequence[str]:
    """What the columns of labels are called."""
    places = layout.columns.label_columns
    if layout.rows_before:
        return [layout.header[place] for place in places]
    if names is None:
        message = f"no header names the {len(places)} columns of labels"
        raise AnnotationError.at(path, 1, message, hint="{names} names a file that does")
    if len(names) != len(places):
        message = f"{names.path} has {len(names)} names for {len(places)} columns of labels"
        raise AnnotationError.at(path, 1, message)
    return list(names)


@dataclass(frozen=True)
class _Meaning:
    """What cells of a table with a column for each label mean, by the rule in `read_table`.

    Attributes:
        empty: of an empty cell, by column.
        minus_one: of -1.
        of_empty: a note where empty cells are unknown.
    """

    empty: Mapping[int, int]
    minus_one: int = UNKNOWN
    of_empty: str = "empty cells were read as unknown: absent is written as 0"


@dataclass(frozen=True)
class _Marks:
    """What the cells of columns of labels hold: by column, and whether any is -1."""

    without_zero: Collection[int]
    with_empty: Collection[int]
    minus_one: bool

    @classmethod
    def of(cls, path: Path, layout: Layout, absent: Collection[int]) -> _Marks:
        """Look; reads until every column has held a value of `absent`."""
        without_zero = set(layout.columns.label_columns)
        with_empty, minus_one = set[int](), False
        for _, cells in iterate_rows(path, layout):
            for place in list(without_zero):
                cell = cells[place].strip()
                value = mark_value(cell, layout.columns.words.get(place))
                if value in absent:
                    without_zero.discard(place)
                elif value == UNKNOWN:
                    minus_one = True
                elif not cell or cell in MISSING:
                    with_empty.add(place)
            if not without_zero:
                break
        return cls(without_zero, with_empty, minus_one)


_TOLD = {"absent": ABSENT, "unknown": UNKNOWN}


def _meaning(
    builder: AnnotationBuilder,
    path: Path,
    layout: Layout,
    options: ReadOptions,
    labels: Mapping[int, str],
) -> _Meaning:
    """Find out what nobody said; `labels` are the names of the columns."""
    every = layout.columns.label_columns
    empty, minus_one = _TOLD.get(options.blank or ""), _TOLD.get(options.minus_one or "")
    marks = _Marks.of(path, layout, {ABSENT} if minus_one != ABSENT else {ABSENT, UNKNOWN})
    no_zero = len(marks.without_zero) == len(every)
    zeros = frozenset(labels[place] for place in every if place not in marks.without_zero)
    blank = set(marks.with_empty) & set(marks.without_zero) if empty is None else ()
    by_minus_one = minus_one is None and no_zero and marks.minus_one
    without = frozenset(labels[place] for place in blank if not by_minus_one)
    builder.rules.append(
        Rules(
            path,
            labels=frozenset(labels.values()),
            zeros=zeros,
            empty_absent=without,
            minus_one_absent=by_minus_one,
        )
    )
    if by_minus_one:
        builder.note("-1 was read as absent: no cell holds a 0")
        note = "empty cells were read as unknown: absent is written as -1"
        of_empty = UNKNOWN if empty is None else empty
        return _Meaning(dict.fromkeys(every, of_empty), ABSENT, note if empty is None else "")
    minus_one = UNKNOWN if minus_one is None else minus_one
    if empty is not None:
        return _Meaning(dict.fromkeys(every, empty), minus_one, "")
    if no_zero:
        if marks.with_empty:
            builder.note("empty cells were read as absent: no cell holds a 0")
        return _Meaning(dict.fromkeys(every, ABSENT), minus_one)
    if places := sorted(set(marks.with_empty) & set(marks.without_zero)):
        marked = sorted(layout.header[place] for place in places)
        builder.note(
            f"empty cells were read as absent in columns that never hold a 0: {few(marked)}"
        )
    by_column = {place: ABSENT if place in marks.without_zero else UNKNOWN for place in every}
    return _Meaning(by_column, minus_one)


def _value_message(cell: str, layout: Layout, place: int) -> tuple[str, str]:
    column = f"column '{layout.header[place]}'"
    message = f"{column} holds '{shortened(cell)}', which is not 1, 0, -1 or empty"
    if not layout.rows_before:
        return message, ""
    return message, "{label_columns} or {ignore_columns} says which are labels"
