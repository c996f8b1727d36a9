"""Tables: CSV and TSV files with one row per image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import AnnotationBuilder
from twlcli.annotations.csv_cells import text_of_cell
from twlcli.annotations.csv_layout import Layout, find_layout, iterate_rows
from twlcli.annotations.encoding import WINDOWS_1252
from twlcli.annotations.joined import JoinedRows
from twlcli.annotations.label_names import LabelNames
from twlcli.annotations.label_studio import with_uploads
from twlcli.annotations.list_cells import cell_splitter, json_names
from twlcli.annotations.mark_cells import Parse, mark_parser
from twlcli.annotations.marks import MISSING
from twlcli.annotations.plain_table import add_plain
from twlcli.annotations.read_options import DEFAULTS, WHAT, ReadOptions
from twlcli.annotations.rules import Rules
from twlcli.annotations.separators import CHOICES, JSON_LIST, find_separator
from twlcli.annotations.split_columns import split_name
from twlcli.annotations.vectors import NOTE_OF_VECTORS, find_vectors
from twlcli.annotations.verdicts import doubt, find_verdict
from twlcli.errors import AnnotationError


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
    is `nan`, `None`, `NA`, `null` or the like is empty. A column `confidence`, or another of
    `VERDICT_COLUMNS`, of 1 and 0 says whether the labels of a row are present or absent, as in Open
    Images: an image may have several rows, and labels that none of them names are unknown.

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

    A Parquet file, or the first sheet of an Excel workbook, is such a table too; lists in Parquet
    are lists of labels.

    Args:
        path: the file, in UTF-8, UTF-16 with its mark or Windows-1252, with any line ends.
        options: those of `OF_TABLES`. `separator` stands between labels in a cell, instead of the
            rule above (`json` means JSON lists), and with `join_rows` an image may have several
            rows, which together list its labels.
        delimiter: what stands between cells, instead of what the header uses.

    Raises:
        AnnotationError: with the line of what is wrong.
    """
    kinds = {".parquet": "parquet", ".xlsx": "xlsx"}
    name = "tsv" if delimiter == "\t" else kinds.get(path.suffix.lower(), "csv")
    builder = AnnotationBuilder(path, format_name=name, root=path.parent)
    builder.duplicate_hint = "{join_rows} joins the rows of an image"
    add_table(builder, path, options, delimiter=delimiter, whole=True)
    return with_uploads(builder.finish())


def add_table(
    builder: AnnotationBuilder,
    path: Path,
    options: ReadOptions,
    *,
    delimiter: str | None = None,
    folder: str = "",
    split: str = "",
    whole: bool = False,
) -> None:
    """Add a table's rows to a builder; see `read_table`.

    Args:
        builder: where the rows go.
        path: the file.
        options: as for `read_table`.
        delimiter: as for `read_table`.
        folder: put before every image's path, empty or ending with `/`.
        split: the split of rows for which the table names none.
        whole: it is the only table of the builder.
    """
    layout = find_layout(path, options, delimiter=delimiter)
    if layout.encoding == WINDOWS_1252:
        builder.note(f"{path.name} is not UTF-8 and was read as Windows-1252 text")
    columns = layout.columns
    for note in (*layout.notes, *columns.notes):
        builder.note(note)
    _check_form(path, layout, options)
    how = options.separator or options.names or options.join_rows
    if whole and not how and add_plain(builder, path, layout):
        return
    names = None if options.names is None else LabelNames.read(Path(options.names))
    if names is not None:
        builder.declare(names, line=None)
    if columns.labels:
        parse = _list_parser(builder, path, layout, options.separator, names)
    else:
        parse = mark_parser(builder, path, layout, options, names)
    is_present = find_verdict(builder, path, layout)
    joined = _joined_rows(builder, path, layout, options, others_unknown=is_present is not None)
    splits, before = {"": split}, len(builder)
    for line, cells in iterate_rows(path, layout):
        present, unknown = parse(line, cells)
        image = cells[columns.image]
        image = folder + image if image else ""
        name = text_of_cell(cells[columns.split]) if columns.split is not None else ""
        if name not in splits:
            assert columns.split is not None
            splits[name] = split_name(layout.header[columns.split], name) or split
        group = "" if columns.group is None else text_of_cell(cells[columns.group].strip())
        if joined is None:
            builder.add(image, present, unknown, split=splits[name], group=group, line=line)
        elif is_present is None or is_present(line, cells):
            joined.add(image, present, unknown, split=splits[name], group=group, line=line)
        else:
            joined.add(image, absent=present, split=splits[name], group=group, line=line)
    if joined is not None:
        joined.finish()
    if layout.count not in (None, added := len(builder) - before):
        builder.note(f"the first line counts {layout.count:,} images, and there are {added:,}")


def _joined_rows(
    builder: AnnotationBuilder,
    path: Path,
    layout: Layout,
    options: ReadOptions,
    *,
    others_unknown: bool,
) -> JoinedRows | None:
    """What joins the rows of an image, where it may have several."""
    if maybe := doubt(layout):
        builder.duplicate_hint = maybe
        if options.join_rows:
            raise AnnotationError.at(path, 1, "its rows cannot be joined", hint=maybe)
    by_annotators = layout.columns.by_annotators
    if not (options.join_rows or others_unknown or by_annotators):
        return None
    return JoinedRows(builder, path, others_unknown=others_unknown, by_annotators=by_annotators)


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
    read_vector = _vectors(builder, path, layout, separator, names)
    if separator is None:
        separator = _find_separator(builder, path, layout, may_be_blank=names is None)
    builder.whole_numbers = separator not in (JSON_LIST, CHOICES)
    split_cell = cell_splitter(separator)
    if names is not None:
        split_cell = names.splitter(split_cell)

    def columns(line: int, cell: str) -> tuple[int, ...]:
        if cell.strip() in MISSING:
            builder.note(f"cells '{cell.strip()}' were read as empty: no label")
            return ()
        try:
            return builder.columns((read_vector or split_cell)(cell))
        except ValueError as error:
            raise AnnotationError.at(path, line, str(error)) from error

    def parse(line: int, cells: list[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        if vocabulary is not None and cells[vocabulary]:
            try:
                builder.declare(json_names(cells[vocabulary]), line=line)
            except ValueError as error:
                raise AnnotationError.at(path, line, f"vocabulary: {error}") from error
        present = columns(line, cells[first])
        for column in others:
            present = tuple(dict.fromkeys(present + columns(line, cells[column])))
        return present, columns(line, text_of_cell(cells[unknown])) if unknown is not None else ()

    return parse


def _vectors(
    builder: AnnotationBuilder,
    path: Path,
    layout: Layout,
    separator: str | None,
    names: LabelNames | None,
) -> Callable[[str], list[str]] | None:
    """From a cell with an entry for each label to the labels, where all cells are such."""
    (first, *others) = layout.columns.labels
    if others or separator not in (None, JSON_LIST) or layout.columns.written_by_twl:
        return None
    cells = (cells[first] for _, cells in iterate_rows(path, layout))
    read = find_vectors(cells, path, names)
    if read is not None:
        builder.note(NOTE_OF_VECTORS)
    return read


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
    separator = find_separator(cells, of=path, may_be_blank=may_be_blank)
    for note in separator.notes:
        builder.note(note)
    builder.rules.append(Rules(path, separator.shown))
    return separator.text
