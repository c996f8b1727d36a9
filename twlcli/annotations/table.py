"""Tables: CSV and TSV files with one row per image."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import AnnotationBuilder
from twlcli.annotations.columns import CELL_VALUES, MISSING, few, split_name
from twlcli.annotations.csv_layout import Layout, find_layout, iterate_rows
from twlcli.annotations.encoding import WINDOWS_1252
from twlcli.annotations.joined import JoinedRows
from twlcli.annotations.label_names import LabelNames
from twlcli.annotations.read_options import DEFAULTS, WHAT, ReadOptions
from twlcli.annotations.separators import (
    BLANK,
    CHOICES,
    JSON_LIST,
    LIST,
    find_separator,
)
from twlcli.errors import AnnotationError
from twlcli.io import parse_json
from twlcli.labels import ABSENT, PRESENT, UNKNOWN

_NUMPY = re.compile(r"""\[\s*(?:"[^"]*"|'[^']*')(?:\s+(?:"[^"]*"|'[^']*'))*\s*\]""")
_QUOTED = re.compile(r""""([^"]*)"|'([^']*)'""")


def read_table(
    path: Path, options: ReadOptions = DEFAULTS, *, delimiter: str | None = None
) -> Annotations:
    """Read a CSV or TSV file with a header and one row per image, in one of two forms.

    **Lists**: a column `labels` (or `label`, `tags`) whose cell lists the labels present; an empty
    cell is an image without labels. How the labels in a cell are separated is decided once for
    the whole file: if a cell begins with `[`, or with `(` or `{` and a quote, all are lists in
    JSON, or as Python, pandas or NumPy write them, or Label Studio's choices; otherwise the
    separator is the first of `|`, `;` and `,` that occurs in any of them, or the blank where none
    does and the cells are lists of words (see `separators.blanks_separate`). An optional column
    `unknown` lists in the same way the labels of which nobody knows whether they are present. An
    optional column `vocabulary` holds, in any one row, a JSON list of all labels
    in their order; without it the vocabulary is what occurs. Other columns are ignored. A cell that
    is `nan`, `None`, `NA`, `null` or the like is empty. A column `confidence` of 1 and 0 says
    whether the labels of a row are present or absent, as in Open Images: an image may have several
    rows, and labels that none of them names are unknown.

    **One column per label**: every column besides the image and `split` is a label (one without a
    name is ignored) and holds 1 present, 0 absent, -1 unknown, or is empty. In a column with a 0 an
    empty cell is unknown: the column has its own word for absent. In a column without any it is
    absent: such columns are made by marking what is there. In a file without any 0, -1 is absent,
    as in lists of attributes, and an empty cell unknown.

    In both, the image's path stands in a column `image` (or another of `IMAGE_COLUMNS`), relative
    to the table's folder, and an optional column `split` names its part. Cells are separated by
    the one of comma, tab and semicolon that the header uses. Options name other columns, and say
    what empty cells and -1 mean.

    **Without a header**, where the first row begins with the name of an image, the other cells are
    labels; where they are 1 and 0, each column is a label, and `options.names` names them. Cells
    may then be separated by blanks, too. A list of attributes as CelebA's, whose first line counts
    the images and whose second names the attributes, is a table with a column for each.

    Args:
        path: the file, in UTF-8, UTF-16 with its mark or Windows-1252, with any line ends.
        options: those of `OF_TABLES`. `separator` stands between labels in a cell, instead of the
            rule above (`json` means JSON lists), and with `join_rows` an image may have several
            rows, which together list its labels.
        delimiter: what stands between cells, instead of what the header uses.

    Raises:
        AnnotationError: with the line of what is wrong.
    """
    builder = AnnotationBuilder(
        path, format_name="tsv" if delimiter == "\t" else "csv", root=path.parent
    )
    builder.duplicate_hint = "{join_rows} joins the rows of an image"
    add_table(builder, path, options, delimiter=delimiter)
    return builder.finish()


def add_table(
    builder: AnnotationBuilder,
    path: Path,
    options: ReadOptions,
    *,
    delimiter: str | None = None,
    folder: str = "",
    split: str = "",
) -> None:
    """Add a table's rows to a builder; see `read_table`.

    Args:
        builder: where the rows go.
        path: the file.
        options: as for `read_table`.
        delimiter: as for `read_table`.
        folder: put before every image's path, empty or ending with `/`.
        split: the split of rows for which the table names none.
    """
    layout = find_layout(path, options, delimiter=delimiter)
    if layout.encoding == WINDOWS_1252:
        builder.note(f"{path.name} is not UTF-8 and was read as Windows-1252 text")
    columns = layout.columns
    for note in (*layout.notes, *columns.notes):
        builder.note(note)
    _check_form(path, layout, options)
    names = None if options.names is None else LabelNames.read(Path(options.names))
    if names is not None:
        builder.declare(names, line=None)
    if columns.labels:
        parse = _list_parser(builder, path, layout, options.separator, names)
    else:
        parse = _value_parser(builder, path, layout, options, names)
    is_present = _confidence(builder, path, layout)
    joined = None
    if options.join_rows or is_present is not None:
        joined = JoinedRows(builder, path, others_unknown=is_present is not None)
    splits = {"": split}
    for line, cells in iterate_rows(path, layout):
        present, unknown = parse(line, cells)
        image = cells[columns.image]
        image = folder + image if image else ""
        name = cells[columns.split] if columns.split is not None else ""
        if name not in splits:
            assert columns.split is not None
            splits[name] = split_name(layout.header[columns.split], name) or split
        group = "" if columns.group is None else cells[columns.group].strip()
        if joined is None:
            builder.add(image, present, unknown, split=splits[name], group=group, line=line)
        elif is_present is None or is_present(line, cells):
            joined.add(image, present, unknown, split=splits[name], group=group, line=line)
        else:
            joined.add(image, absent=present, split=splits[name], group=group, line=line)
    if joined is not None:
        joined.finish()


def _check_form(path: Path, layout: Layout, options: ReadOptions) -> None:
    """Raise AnnotationError for an option that is of the other of the two forms."""
    if layout.columns.labels:
        form, foreign = "has lists of labels", {"blank", "minus_one"}
    else:
        form, foreign = "has one column per label", {"separator"}
        if layout.rows_before:
            foreign |= {"names"}
    for option in options.given():
        if option in foreign:
            message = f"{form}, so {WHAT[option]} does not apply"
            raise AnnotationError.at(path, 1, message, hint=f"leave out {{{option}}}")


def _confidence(
    builder: AnnotationBuilder, path: Path, layout: Layout
) -> Callable[[int, list[str]], bool] | None:
    """Whether a row's labels are present, where the table says of some that they are not."""
    place = layout.columns.confidence
    if place is None:
        return None
    if not any(
        CELL_VALUES.get(cells[place].strip()) == ABSENT for _, cells in iterate_rows(path, layout)
    ):
        return None
    builder.note(
        f"'{layout.header[place]}' 1 was read as present and 0 as absent; labels that no row of an "
        "image names are unknown in it"
    )

    def is_present(line: int, cells: list[str]) -> bool:
        value = CELL_VALUES.get(cells[place].strip())
        if value not in (PRESENT, ABSENT):
            message = f"'{layout.header[place]}' is '{_shortened(cells[place])}'; expected 1 or 0"
            raise AnnotationError.at(path, line, message)
        return value == PRESENT

    return is_present


# --- lists of labels -----------------------------------------------------------------------------

Parse = Callable[[int, list[str]], tuple[tuple[int, ...], tuple[int, ...]]]


def _list_parser(
    builder: AnnotationBuilder,
    path: Path,
    layout: Layout,
    separator: str | None,
    names: LabelNames | None,
) -> Parse:
    """From a row's cells to the columns of its present and of its unknown labels."""
    labels, unknown = layout.columns.labels, layout.columns.unknown
    vocabulary = layout.columns.vocabulary
    (first, *others) = labels
    if separator is None:
        separator = _find_separator(builder, path, layout, may_be_blank=names is None)
    split_cell = cell_splitter(separator)
    if names is not None:
        split_cell = names.splitter(split_cell)

    def columns(line: int, cell: str) -> tuple[int, ...]:
        if cell.strip() in MISSING:
            builder.note(f"cells '{cell.strip()}' were read as empty: no label")
            return ()
        try:
            return builder.columns(split_cell(cell))
        except ValueError as error:
            raise AnnotationError.at(path, line, str(error)) from error

    def parse(line: int, cells: list[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        if vocabulary is not None and cells[vocabulary]:
            try:
                builder.declare(_json_names(cells[vocabulary]), line=line)
            except ValueError as error:
                raise AnnotationError.at(path, line, f"vocabulary: {error}") from error
        present = columns(line, cells[first])
        for column in others:
            present = tuple(dict.fromkeys(present + columns(line, cells[column])))
        return present, columns(line, cells[unknown]) if unknown is not None else ()

    return parse


def _find_separator(
    builder: AnnotationBuilder, path: Path, layout: Layout, *, may_be_blank: bool
) -> str:
    """The separator by the rule in `read_table`; one pass over the file."""
    columns = [*layout.columns.labels]
    if layout.columns.unknown is not None:
        columns.append(layout.columns.unknown)
    cells = (
        (line, cells[column]) for line, cells in iterate_rows(path, layout) for column in columns
    )
    may_be_blank = may_be_blank and not layout.columns.written_by_twl
    separator = find_separator(cells, of=path.name, may_be_blank=may_be_blank)
    for note in separator.notes:
        builder.note(note)
    return separator.text


def cell_splitter(separator: str) -> Callable[[str], list[str]]:
    """From a cell to its labels; see `find_separator`. Raises ValueError for what is no list."""
    parsers = {JSON_LIST: _json_names, CHOICES: _names_or_one, BLANK: _words}
    return parsers.get(separator) or _splitter(separator)


def _words(cell: str) -> list[str]:
    return cell.split()


def _splitter(separator: str) -> Callable[[str], list[str]]:
    return lambda cell: cell.split(separator)


def _json_names(cell: str) -> list[str]:
    if not cell.strip():
        return []
    why = ""
    try:
        names = parse_json(cell)
    except ValueError as error:
        names = _as_programs_write(cell.strip())
        why = str(error)
        if isinstance(error, json.JSONDecodeError):
            why = f"{error.msg} at character {error.pos + 1}"
    if isinstance(names, dict) and isinstance(names.get("choices"), list):  # Label Studio
        names = names["choices"]
    if isinstance(names, set | frozenset):
        names = sorted(names, key=str)
    if isinstance(names, list | tuple) and all(type(name) in (str, int) for name in names):
        return [str(name) for name in names]
    because = f" ({why})" if why else ""
    raise ValueError(
        f"'{_shortened(cell)}' is not a JSON list of labels{because}; where one cell begins with "
        "'[' all are read as JSON lists unless a separator is given"
    )


def _names_or_one(cell: str) -> list[str]:
    """Label Studio writes a single choice without its braces."""
    return _json_names(cell) if LIST.match(cell) else [cell]


def _as_programs_write(cell: str) -> object:
    """A list as Python and pandas write it, `['dog', "cat's"]`, or NumPy, `['dog' 'cat']`.

    None if it is neither.
    """
    if _NUMPY.fullmatch(cell):  # Python would make one text of all of them
        return [one or other for one, other in _QUOTED.findall(cell)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's, of an escape that it does not know
            return ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def _shortened(cell: str) -> str:
    return cell if len(cell) <= 60 else cell[:57] + "..."


# --- one column per label ------------------------------------------------------------------------


def _value_parser(
    builder: AnnotationBuilder,
    path: Path,
    layout: Layout,
    options: ReadOptions,
    names: LabelNames | None,
) -> Parse:
    """From a row's cells to the columns of its present and of its unknown labels."""
    places = layout.columns.label_columns
    columns = [builder.columns([name])[0] for name in _label_names(path, layout, names)]
    meaning = _meaning(builder, path, layout, options)

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
                value = meaning.empty[place] if is_empty else CELL_VALUES.get(cell)
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
                value = CELL_VALUES.get(cell)
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
    builder: AnnotationBuilder, path: Path, layout: Layout, options: ReadOptions
) -> _Meaning:
    """Find out what nobody said."""
    every = layout.columns.label_columns
    empty, minus_one = _TOLD.get(options.blank or ""), _TOLD.get(options.minus_one or "")
    marks = _Marks.of(path, layout, {ABSENT} if minus_one != ABSENT else {ABSENT, UNKNOWN})
    no_zero = len(marks.without_zero) == len(every)
    if minus_one is None and no_zero and marks.minus_one:
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
    message = f"{column} holds '{_shortened(cell)}', which is not 1, 0, -1 or empty"
    if not layout.rows_before:
        return message, ""
    return message, "{label_columns} or {ignore_columns} says which are labels"
