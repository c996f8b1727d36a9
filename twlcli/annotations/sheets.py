"""Tables that are no text: Parquet files, and sheets of Excel workbooks."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from twlcli.annotations.builder import SPLIT_NAMES
from twlcli.annotations.encoding import LONGEST_LINE, check_is_file, readable
from twlcli.confined import ConfinedError, confined
from twlcli.errors import AnnotationError, MissingExtraError
from twlcli.labels import some_of

SHEETS = (".parquet", ".xlsx")
NO_PATH = "(the bytes of a file)"  # in place of a cell that holds them
NO_CLASS = "(no class)"  # in place of the class of an image that has none

# All that is inside a workbook, and all text of a table; there are no larger ones of labels.
_MOST_UNPACKED = 1 << 30  # bytes
_MOST_TEXT = 2 << 30  # characters
_MOST_IN_ALL = 100_000_000  # rows
_ROWS_AT_ONCE = 4096
_BYTES_AT_ONCE = 64 << 20  # of rows of Parquet, as the file tells
_PIECE = 1 << 20  # bytes of a sheet's XML looked at together
_LONGEST = 4096  # bytes of a cell of XML
# A cell with a formula whose value was not saved with it; cells that were merged.
_NO_VALUE = re.compile(rb'<c r="([A-Z]+\d+)"[^>]*><f[^>]*(?:/>|>[^<]*</f>)(?:<v></v>|<v ?/>)?</c>')
_MERGED = re.compile(rb'<mergeCell ref="([A-Z]+\d+:[A-Z]+\d+)"')
_MOST_ROWS = 1_048_576  # of a sheet, in Excel


def sheet_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table with their numbers, the header as row 1; cells as text.

    Empty cells are empty, lists and values by name become JSON, true and false 1 and 0, and whole
    numbers have no fraction. Numbers of classes that Hugging Face names become these names.

    Raises:
        AnnotationError: the file cannot be read, or its cells are not all there.
        MissingExtraError: the package that reads it is not installed.
    """
    yield from enumerate(_elsewhere(path, _rows, path), start=1)


def _elsewhere(path: Path, work: Callable[..., Iterator[Any]], *args: Any) -> Iterator[Any]:
    """What `work` yields of a file, in a process that may crash or take too much."""
    check_is_file(path)
    packages = {".parquet": ("pyarrow", "Parquet"), ".xlsx": ("openpyxl", "Excel workbooks")}
    package, what = packages[path.suffix.lower()]
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(f"reading {what}", path.suffix.lower()[1:])
    try:
        yield from confined(work, *args)
    except ConfinedError as error:
        raise AnnotationError(f"{path}: {error}; is it a label file?") from None


def _rows(path: Path) -> Iterator[list[str]]:
    """As `sheet_rows`, without the numbers."""
    size = 0
    rows = _parquet(path) if path.suffix.lower() == ".parquet" else _workbook(path)
    for number, row in enumerate(rows, start=1):
        cells = [_text(value) for value in row]
        length = sum(map(len, cells))
        size += length
        if length > LONGEST_LINE:
            message = f"a row of more than {LONGEST_LINE:,} characters; is it a label file?"
            raise AnnotationError.at(path, number, message)
        if size > _MOST_TEXT or number > _MOST_IN_ALL:
            what = f"{_MOST_IN_ALL:,} rows or {_MOST_TEXT:,} characters"
            raise AnnotationError(f"{path}: has more than {what}")
        yield cells


def notes_of(path: Path, header: Sequence[str], image: int, read: Collection[int]) -> list[str]:
    """What to know of a file.

    Args:
        path: the file.
        header: the columns' names.
        image: the place of the column of images.
        read: the places of all columns that are read.

    Raises:
        AnnotationError: as `sheet_rows`; or, in these columns, cells are merged, formulas have no
            stored value, or lists hold no names.
    """
    return list(_elsewhere(path, _notes, path, header, image, read))


def _notes(path: Path, header: Sequence[str], image: int, read: Collection[int]) -> Iterator[str]:
    if path.suffix.lower() == ".xlsx":
        with _opened(path) as book:
            sheet, others = _sheet(path, book)
            _check_cells(path, sheet, read)
        if others:
            yield f"sheets that were not read: {some_of(others)}"
        return
    with _parquet_file(path) as file:
        schema = file.schema_arrow
    for place in read:
        item = getattr(schema.field(place).type, "value_type", None)  # of a list
        if item is not None and str(item).startswith("struct<"):
            message = f"the column '{header[place]}' holds lists of {item}; expected lists of names"
            raise AnnotationError(f"{path}: {message}")
    kind = schema.field(image).type
    if "bytes" in [kind.field(at).name for at in range(kind.num_fields)]:
        yield f"of the images inside '{header[image]}' only the paths were read; they must be files"


def classes_of(path: Path, column: str) -> tuple[tuple[str, ...], int]:
    """The classes in a column as Hugging Face names them, and how many images have none of them."""
    if path.suffix.lower() != ".parquet":
        return (), 0
    names, without = next(_elsewhere(path, _classes, path, column))
    return tuple(names), without


def _classes(path: Path, column: str) -> Iterator[tuple[Sequence[str], int]]:
    with _parquet_file(path) as file:
        names = _class_names(file.schema_arrow.metadata or {}).get(column, [])
        without = 0
        if names:
            for batch in file.iter_batches(_batch_size(file), columns=[column]):
                without += _named(batch.columns[0].to_pylist(), names).count(NO_CLASS)
        yield names, without


@contextmanager
def _parquet_file(path: Path) -> Iterator[Any]:
    from pyarrow import parquet

    with _damage_told(path, "Parquet"), parquet.ParquetFile(path) as file:
        yield file


def _parquet(path: Path) -> Iterator[Sequence[Any]]:
    with _parquet_file(path) as file:
        header = file.schema_arrow.names
        classes = _class_names(file.schema_arrow.metadata or {})
        yield header
        if file.metadata.num_rows > _MOST_IN_ALL:
            raise AnnotationError(f"{path}: has more than {_MOST_IN_ALL:,} rows")
        # Images inside the file may be much larger than all else, and only their paths are read.
        leaves = [file.schema.column(at).path for at in range(len(file.schema))]
        paths = {leaf.removesuffix(".path") for leaf in leaves if leaf.endswith(".path")}
        wanted = [leaf for leaf in leaves if leaf.removesuffix(".bytes") not in paths]
        for batch in file.iter_batches(_batch_size(file), columns=wanted, use_threads=False):
            columns = [
                _named(column.to_pylist(), classes.get(name))
                for name, column in zip(header, batch.columns, strict=True)
            ]
            yield from zip(*columns, strict=True)


def _batch_size(file: Any) -> int:
    """Rows that fit the memory, if the file does not lie."""
    metadata = file.metadata
    groups = [metadata.row_group(at) for at in range(metadata.num_row_groups)]
    per_row = max((each.total_byte_size / max(each.num_rows, 1) for each in groups), default=0)
    return int(max(1, min(_ROWS_AT_ONCE, _BYTES_AT_ONCE / max(per_row, 1))))


def _class_names(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """The names of classes by column, as `datasets` of Hugging Face writes them."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        found = {column: _names_in(feature) for column, feature in features.items()}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}
    return {column: names for column, names in found.items() if names}


def _names_in(feature: Any) -> list[str] | None:
    """The names of a class, or of the classes in a list."""
    if isinstance(feature, list) and len(feature) == 1:
        return _names_in(feature[0])
    if not isinstance(feature, dict):
        return None
    if "feature" in feature:
        return _names_in(feature["feature"])
    names = feature.get("names")
    return list(map(str, names)) if feature.get("_type") == "ClassLabel" and names else None


def _named(values: list[Any], names: Sequence[str] | None) -> list[Any]:
    """Classes by name; `NO_CLASS` where the number is below 0, which says that none is known."""
    if names is None:
        return values

    def name(value: Any) -> Any:
        if isinstance(value, list):
            known = [each for each in map(name, value) if each != NO_CLASS]
            return known if known or not value else NO_CLASS
        if type(value) is not int or value >= len(names):
            return value
        return names[value] if value >= 0 else NO_CLASS

    return [name(value) for value in values]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import openpyxl

    with _damage_told(path, "an Excel workbook", hint="save it as CSV in UTF-8"):
        _check_size(path)
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        with closing(book):
            yield book


def _check_size(path: Path) -> None:
    """Raise AnnotationError for an archive that unpacks into too much.

    Nothing is unpacked beyond the sizes that it tells, but with methods that workbooks do not use.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if any(
        each.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for each in entries
    ):
        raise ValueError("compressed as workbooks are not")
    if sum(each.file_size for each in entries) > _MOST_UNPACKED:
        message = f"unpacks into more than {_MOST_UNPACKED >> 20} MiB"
        raise AnnotationError(f"{path}: {message}", hint="save it as CSV in UTF-8")


def _workbook(path: Path) -> Iterator[Sequence[Any]]:
    """Rows as wide as the first that has any cell; what a sheet has beyond its rows is no row."""
    with _opened(path) as book:
        sheet, _ = _sheet(path, book)
        sheet.reset_dimensions()  # which may be a million rows of a thousand empty cells
        width = 0
        for row in sheet.iter_rows(max_row=_MOST_ROWS, values_only=True):
            cells = list(row)
            while cells and cells[-1] is None:
                del cells[-1]
            width = width or len(cells)
            yield cells + [None] * (width - len(cells)) if cells else cells


def _sheet(path: Path, book: Any) -> tuple[Any, list[str]]:
    """The first sheet that is not hidden, and the names of the others that hold anything."""
    shown = [each for each in book.worksheets if each.sheet_state == "visible"]
    if not shown:
        raise AnnotationError(f"{path}: has no sheet that can be seen")
    splits = [each.title for each in shown if each.title.strip().casefold() in SPLIT_NAMES]
    if len(splits) > 1:
        raise AnnotationError(
            f"{path}: has a sheet for each split ({some_of(splits)}); save each as a file",
            hint="{val_data} and {test_data} name the others",
        )
    return shown[0], [each.title for each in book.worksheets if each is not shown[0]]


def _check_cells(path: Path, sheet: Any, read: Collection[int]) -> None:
    """Raise AnnotationError for cells that are read and whose values the file does not hold."""
    place = getattr(sheet, "_worksheet_path", None)  # within the archive
    if place is None:
        return
    with zipfile.ZipFile(path) as archive, archive.open(place) as file:
        before = b""
        while piece := file.read(_PIECE):
            before = before[-_LONGEST:] + piece
            for found in _NO_VALUE.finditer(before):
                if _column(found[1]) in read:
                    message = f"cell {found[1].decode()} is a formula without a stored value"
                    hint = "open and save the workbook in Excel or LibreOffice, or save it as CSV"
                    raise AnnotationError(f"{path}: {message}", hint=hint)
            for found in _MERGED.finditer(before):
                first, last = map(_column, found[1].split(b":"))
                if any(first <= place <= last for place in read):
                    message = (
                        f"cells {found[1].decode()} are merged, and only the first has a value"
                    )
                    raise AnnotationError(f"{path}: {message}", hint="part them and fill each")


def _column(cell: bytes) -> int:
    """The place of a cell's column.

    Example:
        >>> [_column(cell) for cell in (b"A1", b"C20", b"AA3")]
        [0, 2, 26]
    """
    place = 0
    for letter in cell.rstrip(b"0123456789"):
        place = 26 * place + letter - ord("A") + 1
    return place - 1


@contextmanager
def _damage_told(path: Path, what: str, *, hint: str = "") -> Iterator[None]:
    try:
        with readable(path):
            yield
    except (AnnotationError, MemoryError):
        raise
    except Exception as error:  # on damaged files both libraries raise nearly anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if isinstance(
            error, AttributeError | TypeError | LookupError
        ):  # which say nothing to users
            reason = "it is damaged, or holds something such as a chart that is not known here"
        message = f"{path}: cannot be read as {what} ({reason})"
        raise AnnotationError(message, hint=hint) from error


def _item(value: Any) -> Any:
    """An item of a list: numbers stay numbers, and what is no name stays what it is."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, int | float) and math.isfinite(value):
        return int(value) if value == int(value) else value
    return value if value is None or isinstance(value, dict | list) else _text(value)


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bytes):
        try:
            return value.decode() if b"\0" not in value else NO_PATH
        except UnicodeDecodeError:
            return NO_PATH
    if isinstance(value, dict):
        if value.keys() == {"path"}:  # of an image as datasets of Hugging Face hold it
            return _text(value["path"]) or NO_PATH
        return json.dumps(value, ensure_ascii=False, default=_text)
    if isinstance(value, list):
        if value and all(isinstance(each, tuple) for each in value):  # values by name
            return _text(dict(value))
        return (
            json.dumps([_item(each) for each in value], ensure_ascii=False, default=_text)
            if value
            else ""
        )
    return str(value)
