"""Corrections of labels: what somebody who looked at images says of some of their labels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import AnnotationBuilder, normal_image
from twlcli.annotations.csv_cells import image_of_cell, text_of_cell
from twlcli.annotations.encoding import check_is_file, find_encoding, readable
from twlcli.annotations.joined import JoinedRows
from twlcli.annotations.read_options import ReadOptions
from twlcli.annotations.rows import SHEET, table_rows
from twlcli.annotations.sheets import SHEETS
from twlcli.errors import AnnotationError, MissingExtraError
from twlcli.labels import ABSENT, PRESENT, UNKNOWN

COLUMNS = ("image", "label", "verdict")
VERDICTS = {"present": PRESENT, "absent": ABSENT, "unknown": UNKNOWN}
_DELIMITERS = (",", ";", "\t")

_SUFFIXES = (".csv", ".tsv", *SHEETS)
_LOOKED_AT = 100  # rows that show what a table is
_START = 1 << 16  # bytes with the names of its columns
_NAMED = re.compile(b"v\0?e\0?r\0?d\0?i\0?c\0?t", re.IGNORECASE)  # in UTF-16 too


@dataclass(frozen=True)
class Correction:
    """What is right for one label of one image.

    Attributes:
        file: where it stands.
        line: of the file.
        image: its name, as the label file has it.
        label: the label's.
        value: 1 present, 0 absent, -1 unknown.
    """

    file: Path
    line: int
    image: str
    label: str
    value: int


def read_corrections(path: Path) -> list[Correction]:
    """Read a table with the columns `image`, `label` and `verdict`, or a folder of such tables.

    A verdict is `present`, `absent` or `unknown`. Other columns are left alone.

    Raises:
        AnnotationError: it is no such table, or says two things of the same label of an image.
    """
    found: dict[tuple[str, str], Correction] = {}
    for each in (correction for file in _tables(path) for correction in _corrections_in(file)):
        before = found.setdefault((normal_image(each.image), each.label), each)
        if before.value != each.value:
            where = "" if before.file == each.file else f" of {before.file}"
            raise AnnotationError.at(
                each.file,
                each.line,
                f"label '{each.label}' of image '{each.image}' has another verdict on line "
                f"{before.line}{where}",
            )
    return list(found.values())


def _tables(path: Path) -> Sequence[Path]:
    with readable(path):
        if not path.is_dir():
            return [path]
        tables = sorted(each for each in path.iterdir() if _is_table(each))
    if not tables:
        raise AnnotationError(f"{path}: holds no table of corrections, such as a .csv file")
    return tables


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")


def _corrections_in(file: Path) -> Iterator[Correction]:
    for line, row in _rows(file):
        verdict = row["verdict"].strip().lower()
        if verdict not in VERDICTS:
            raise AnnotationError.at(
                file, line, f"verdict '{row['verdict']}'; expected {', '.join(VERDICTS)}"
            )
        image, label = image_of_cell(row["image"]), text_of_cell(row["label"])
        yield Correction(file, line, image, label, VERDICTS[verdict])


def are_corrections(path: Path) -> bool:
    """Whether a file is a table with image, label and verdict, or a folder of nothing else."""
    if path.is_dir():
        with readable(path):
            tables = [each for each in path.iterdir() if _is_table(each)]
        return bool(tables) and all(map(are_corrections, tables))
    check_is_file(path)
    if path.suffix.lower() not in SHEETS:
        with readable(path), path.open("rb") as file:
            if not _NAMED.search(file.read(_START)):
                return False
    try:
        rows = [row for _, row in islice(_rows(path), _LOOKED_AT)]
    except (AnnotationError, MissingExtraError):
        return False  # whatever reads it says what is wrong
    return any(row["verdict"].strip().lower() in VERDICTS for row in rows)


def read_verdicts(path: Path, options: ReadOptions) -> Annotations:
    """Labels that are nothing but verdicts: whatever has none is unknown.

    Raises:
        AnnotationError: as `read_corrections`.
    """
    root = path if path.is_dir() else path.parent
    builder = AnnotationBuilder(path, format_name="corrections", root=root)
    images = JoinedRows(builder, path, others_unknown=True)
    for each in read_corrections(path):
        columns = builder.columns([each.label])
        present, absent = (columns if each.value == value else () for value in (PRESENT, ABSENT))
        images.add(each.image, present, absent=absent, line=each.line)
    images.finish()
    builder.note("labels of an image that have no verdict were read as unknown")
    return builder.finish()


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The lines of the table, with the cells of the three columns."""
    if path.suffix.lower() in SHEETS:
        encoding = SHEET
    else:
        with readable(path):
            encoding = find_encoding(path)
    for delimiter in _DELIMITERS:
        lines = table_rows(path, encoding, delimiter, strict=True)
        header = [cell.strip().lower() for cell in next(lines, (0, []))[1]]
        if set(COLUMNS) <= set(header):
            break
    else:
        raise AnnotationError.at(path, 1, f"expected the columns {', '.join(COLUMNS)}")
    places = {name: header.index(name) for name in COLUMNS}
    for line, cells in lines:
        if not any(cells):
            continue
        if len(cells) <= max(places.values()):
            raise AnnotationError.at(path, line, f"has {len(cells)} cells; expected {len(header)}")
        yield line, {name: cells[place] for name, place in places.items()}
