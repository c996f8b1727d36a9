"""Writing annotations as a table that `read_table` reads back."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.csv_cells import cell_of_image, cell_of_text, need_json, row_writer
from twlcli.annotations.separators import SEPARATORS
from twlcli.errors import AnnotationError, needs_extra
from twlcli.io import write_whole
from twlcli.labels import PRESENT, UNKNOWN, LabelMatrix

DELIMITER_OF_SUFFIX = {".csv": ",", ".tsv": "\t"}

_ROWS_AT_ONCE = 4096


def write_table(annotations: Annotations, path: Path) -> None:
    r"""Write a CSV (or, to a name ending in `.tsv`, TSV) file that holds everything.

    The columns are `image,labels`, then those of `split`, `group`, `unknown` and `vocabulary` that
    are needed: where an image is in a split or a group, where a label is unknown in an image, and
    where the sorted labels that occur are not the vocabulary, or a blank in a label might be taken
    for a separator. Reading the file gives the same images, labels, unknowns, splits and
    vocabulary, and with `group_column="group"` the same groups.
    Labels are separated by `|`; where a label holds a separator itself, begins with `[` or would be
    run by a spreadsheet, all cells are JSON lists. Other cells are those of `csv_cells`. Images'
    paths are relative to the new file's folder, or absolute where there is no relative one (another
    drive).

    Example:
        image,labels,unknown
        JPEGImages/000005.jpg,chair,
        JPEGImages/000012.jpg,car|person,dog

    To a name ending in `.parquet` the same columns are written, with labels and unknown labels as
    lists.

    Raises:
        AnnotationError: the name has another ending, or an image's name is not Unicode.
        MissingExtraError: Parquet without pyarrow.
        TwlError: the file cannot be written. Nothing half-written stays.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        with needs_extra("writing Parquet", "parquet"):
            import pyarrow.parquet  # noqa: F401
        write_whole(path, lambda file: _write_parquet(annotations, path, file))
        return
    delimiter = DELIMITER_OF_SUFFIX.get(suffix)
    if delimiter is None:
        raise AnnotationError(f"{path}: the table's name must end in .csv, .tsv or .parquet")
    write_whole(path, lambda file: _write_rows(annotations, path, delimiter, file))


def _write_parquet(annotations: Annotations, path: Path, file: IO[bytes]) -> None:
    import pyarrow
    from pyarrow import parquet

    lists = pyarrow.list_(pyarrow.string())
    rows = _rows(annotations, path, cell=list)
    header = next(rows)
    kinds = [lists if name in ("labels", "unknown") else pyarrow.string() for name in header]
    schema = pyarrow.schema(list(zip(header, kinds, strict=True)))
    with parquet.ParquetWriter(file, schema, compression="zstd") as table:
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            try:
                columns = list(map(pyarrow.array, zip(*some, strict=True), kinds))
            except UnicodeEncodeError as error:
                message = f"{error.object!r} is not Unicode text, so no table can hold it"
                raise AnnotationError(f"{annotations.source}: {message}") from error
            table.write_batch(pyarrow.record_batch(columns, schema=schema))


def _write_rows(annotations: Annotations, path: Path, delimiter: str, file: IO[bytes]) -> None:
    text = io.StringIO(newline="")
    write_row = row_writer(text, delimiter)
    for image, labels, *others in _rows(annotations, path):
        write_row([cell_of_image(image), labels, *map(cell_of_text, others)])
        try:
            file.write(text.getvalue().encode())
        except UnicodeEncodeError as error:
            message = f"{image!r} is not Unicode text, so no table can hold it"
            raise AnnotationError(f"{annotations.source}: {message}") from error
        text.seek(0)
        text.truncate()


def _rows(
    annotations: Annotations, path: Path, *, cell: Callable[[Sequence[str]], Any] | None = None
) -> Iterator[list[Any]]:
    """The header, then a row for each image; `cell` makes a cell of labels, else it is text."""
    labels, names = annotations.labels, annotations.vocabulary.names
    has_splits = any(annotations.splits)
    has_unknown = bool((labels.values == UNKNOWN).any())
    occurring = sorted(names[column] for column in np.unique(labels.columns))
    # With a vocabulary nobody asks whether blanks separate labels, or only belong to them.
    has_blanks = any(len(name.split()) > 1 for name in names) and not _has_lists(labels)
    has_vocabulary = occurring != list(names) or has_blanks
    groups = annotations.groups or ("",) * len(annotations)
    has_groups = any(groups)
    optional = (
        ("split", has_splits),
        ("group", has_groups),
        ("unknown", has_unknown),
        ("vocabulary", has_vocabulary),
    )
    yield ["image", "labels", *(name for name, needed in optional if needed)]
    cell = cell or _cell_writer(names)
    folder = folder_prefix(annotations.root, path.parent)
    vocabulary = _json(names)
    for image, split, group, (present, unknown) in zip(
        annotations.images, annotations.splits, groups, _label_names(labels, names), strict=True
    ):
        absolute = os.path.isabs(image)  # noqa: PTH117 -- a Path for each of a million is slow
        cells = [image if absolute else folder + image, cell(present)]
        if has_splits:
            cells.append(split)
        if has_groups:
            cells.append(group)
        if has_unknown:
            cells.append(cell(unknown))
        if has_vocabulary:
            cells.append(vocabulary)
            vocabulary = ""  # it stands in the first row only
        yield cells


def _has_lists(labels: LabelMatrix) -> bool:
    """Whether a cell lists several labels, so that a separator is seen."""
    rows = np.repeat(np.arange(len(labels)), np.diff(labels.starts))
    cells = 3 * rows + labels.values
    return len(np.unique(cells)) < len(cells)


def _label_names(
    labels: LabelMatrix, names: Sequence[str]
) -> Iterator[tuple[list[str], list[str]]]:
    """The names of each image's present and unknown labels."""
    for first in range(0, len(labels), _ROWS_AT_ONCE):
        starts = labels.starts[first : first + _ROWS_AT_ONCE + 1].tolist()
        entries = slice(starts[0], starts[-1])
        named = [
            (names[column], value)
            for column, value in zip(
                labels.columns[entries].tolist(), labels.values[entries].tolist(), strict=True
            )
        ]
        for start, end in pairwise(start - starts[0] for start in starts):
            row = named[start:end]
            yield (
                [name for name, value in row if value == PRESENT],
                [name for name, value in row if value == UNKNOWN],
            )


def _cell_writer(names: Sequence[str]) -> Callable[[Sequence[str]], str]:
    return _json if need_json(names) else SEPARATORS[0].join


def _json(names: Sequence[str]) -> str:
    return json.dumps(list(names), ensure_ascii=False)


def folder_prefix(root: Path, folder: Path) -> str:
    """What leads from `folder` to `root`: empty, or a path that ends with a slash."""
    # Both without links, for '..' in a relative path leads to the parent of a link's target.
    base, start = os.path.realpath(root), os.path.realpath(folder)
    try:
        relative = os.path.relpath(base, start)
    except ValueError:  # another drive
        relative = base
    relative = relative.replace(os.sep, "/")
    return "" if relative == "." else relative.rstrip("/") + "/"
