"""Tables: CSV and TSV files with one row per image."""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Callable
from pathlib import Path

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import AnnotationBuilder
from twlcli.annotations.csv_layout import Layout, find_layout, iterate_rows
from twlcli.annotations.encoding import WINDOWS_1252
from twlcli.errors import AnnotationError
from twlcli.io import parse_json
from twlcli.labels import ABSENT, PRESENT, UNKNOWN

SEPARATORS = ("|", ";", ",")  # between the labels in a cell; the order is the rule
JSON_LIST = "json"

# One cell of a table with a column per label. `1.0` is what pandas writes beside empty cells.
CELL_VALUES = {
    **dict.fromkeys(("1", "1.0", "True", "true", "TRUE"), PRESENT),
    **dict.fromkeys(("0", "0.0", "False", "false", "FALSE"), ABSENT),
    **dict.fromkeys(("-1", "-1.0"), UNKNOWN),
}


def read_table(
    path: Path, *, separator: str | None = None, delimiter: str | None = None
) -> Annotations:
    """Read a CSV or TSV file with a header and one row per image, in one of two forms.

    **Lists**: a column `labels` (or `label`, `tags`) whose cell lists the labels present; an empty
    cell is an image without labels. How the labels in a cell are separated is decided once for
    the whole file: if a cell begins with `[` all are JSON lists (or Python's, as pandas writes
    them); otherwise the separator is the first of `|`, `;` and `,` that occurs in any of them. An
    optional column `unknown` lists in the same way the labels of which nobody knows whether they
    are present. An optional column `vocabulary` holds, in any one row, a JSON list of all labels
    in their order; without it the vocabulary is what occurs. Other columns are ignored.

    **One column per label**: every column besides the image and `split` is a label (one without a
    name is ignored) and holds 1 present, 0 absent, -1 unknown, or is empty. In a file that writes
    a 0 anywhere, an empty cell is unknown: the file has its own word for absent. In a file without
    any 0 it is absent: such tables are made by marking what is there.

    In both, the image's path stands in a column `image` (or another of `IMAGE_COLUMNS`), relative
    to the table's folder, and an optional column `split` names its part. Cells are separated by
    the one of comma, tab and semicolon that the header uses.

    Args:
        path: the file, in UTF-8, UTF-16 with its mark or Windows-1252, with any line ends.
        separator: what stands between labels in a cell, instead of the rule above; `json` means
            JSON lists.
        delimiter: what stands between cells, instead of what the header uses.

    Raises:
        AnnotationError: with the line of what is wrong.
    """
    builder = AnnotationBuilder(
        path, format_name="tsv" if delimiter == "\t" else "csv", root=path.parent
    )
    add_table(builder, path, separator=separator, delimiter=delimiter)
    return builder.finish()


def add_table(
    builder: AnnotationBuilder,
    path: Path,
    *,
    separator: str | None = None,
    delimiter: str | None = None,
    folder: str = "",
    split: str = "",
) -> None:
    """Add a table's rows to a builder; see `read_table`.

    Args:
        builder: where the rows go.
        path: the file.
        separator: as for `read_table`.
        delimiter: as for `read_table`.
        folder: put before every image's path, empty or ending with `/`.
        split: the split of rows for which the table names none.
    """
    layout = find_layout(path, delimiter)
    if layout.encoding == WINDOWS_1252:
        builder.note(f"{path.name} is not UTF-8 and was read as Windows-1252 text")
    if layout.labels is None:
        if separator is not None:
            message = "has one column per label, so there are no lists to separate"
            raise AnnotationError.at(path, 1, message, hint="leave out {separator}")
        parse = _value_parser(builder, path, layout)
    else:
        parse = _list_parser(builder, path, layout, separator)
    for line, cells in iterate_rows(path, layout):
        present, unknown = parse(line, cells)
        image = cells[layout.image]
        name = cells[layout.split] if layout.split is not None else ""
        builder.add(
            folder + image if image else "", present, unknown, split=name or split, line=line
        )


# --- lists of labels -----------------------------------------------------------------------------

Parse = Callable[[int, list[str]], tuple[tuple[int, ...], tuple[int, ...]]]


def _list_parser(
    builder: AnnotationBuilder, path: Path, layout: Layout, separator: str | None
) -> Parse:
    """From a row's cells to the columns of its present and of its unknown labels."""
    labels, unknown, vocabulary = layout.labels, layout.unknown, layout.vocabulary
    assert labels is not None
    if separator is None:
        separator = _find_separator(builder, path, layout)
    split_cell = _json_names if separator == JSON_LIST else _splitter(separator)

    def columns(line: int, cell: str) -> tuple[int, ...]:
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
        return columns(line, cells[labels]), (
            columns(line, cells[unknown]) if unknown is not None else ()
        )

    return parse


def _find_separator(builder: AnnotationBuilder, path: Path, layout: Layout) -> str:
    """The separator by the rule in `read_table`; one pass over the file."""
    columns = [column for column in (layout.labels, layout.unknown) if column is not None]
    first_line: dict[str, int] = {}
    unseen = list(SEPARATORS)
    for line, cells in iterate_rows(path, layout):
        for column in columns:
            cell = cells[column]
            if "[" in cell and cell.lstrip().startswith("["):
                return JSON_LIST
            for separator in [each for each in unseen if each in cell]:
                first_line[separator] = line
                unseen.remove(separator)
    found = [separator for separator in SEPARATORS if separator in first_line]
    if len(found) > 1:
        others = " and ".join(f"'{each}' (line {first_line[each]})" for each in found[1:])
        builder.note(
            f"labels are separated by '{found[0]}' (line {first_line[found[0]]}) in all of "
            f"{path.name}; {others} became part of labels; another separator can be given"
        )
    return found[0] if found else SEPARATORS[0]


def _splitter(separator: str) -> Callable[[str], list[str]]:
    return lambda cell: cell.split(separator)


def _json_names(cell: str) -> list[str]:
    if not cell.strip():
        return []
    try:
        names = parse_json(cell)
    except ValueError as error:
        names = _python_list(cell)
        if names is None:
            why = str(error)
            if isinstance(error, json.JSONDecodeError):
                why = f"{error.msg} at character {error.pos + 1}"
            raise ValueError(
                f"'{_shortened(cell)}' is not a JSON list of labels ({why}); where one cell "
                "begins with '[' all are read as JSON lists unless a separator is given"
            ) from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"'{_shortened(cell)}' is not a JSON list of label names")
    return names


def _python_list(cell: str) -> object:
    """A list as pandas writes it, `['dog', "cat's"]`; None if the cell is not one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's, of an escape that it does not know
            return ast.literal_eval(cell.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _shortened(cell: str) -> str:
    return cell if len(cell) <= 60 else cell[:57] + "..."


# --- one column per label ------------------------------------------------------------------------


def _value_parser(builder: AnnotationBuilder, path: Path, layout: Layout) -> Parse:
    """From a row's cells to the columns of its present and of its unknown labels."""
    places = layout.label_columns
    columns = [builder.columns([layout.header[place]])[0] for place in places]
    empty = _value_of_empty(builder, path, layout)
    value_of = {**CELL_VALUES, "": empty}

    def parse(line: int, cells: list[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        present, unknown = [], []
        for place, column in zip(places, columns, strict=True):
            cell = cells[place]
            if cell == "0":  # nearly all of them
                continue
            value = value_of.get(cell)
            if value is None:
                value = value_of.get(cell.strip())
            if value is None:
                raise AnnotationError.at(path, line, _value_message(cell, layout.header[place]))
            if value == PRESENT:
                present.append(column)
            elif value == UNKNOWN:
                unknown.append(column)
                if not cell:
                    builder.note("empty cells were read as unknown: absent is written as 0")
        return tuple(present), tuple(unknown)

    return parse


def _value_of_empty(builder: AnnotationBuilder, path: Path, layout: Layout) -> int:
    """What an empty cell means, by the rule in `read_table`; reads up to the first 0."""
    empty_line: int | None = None
    for line, cells in iterate_rows(path, layout):
        for place in layout.label_columns:
            cell = cells[place].strip()
            if CELL_VALUES.get(cell) == ABSENT:
                return UNKNOWN
            if not cell:
                empty_line = empty_line or line
    if empty_line is not None:
        builder.note("empty cells were read as absent: no cell holds a 0")
    return ABSENT


def _value_message(cell: str, name: str) -> str:
    return (
        f"column '{name}' holds '{_shortened(cell)}', which is not 1, 0, -1 or empty; without a "
        "column 'labels' every column besides the image and 'split' is taken for a label"
    )
