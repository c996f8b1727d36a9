"""Corrections of labels: what somebody who looked at images says of some of their labels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import AnnotationBuilder, normal_image
from twlcli.annotations.csv_cells import image_of_cell, text_of_cell
from twlcli.annotations.encoding import check_is_file, find_encoding, readable
from twlcli.annotations.joined import JoinedRows
from twlcli.annotations.read_options import ReadOptions
from twlcli.annotations.rows import table_rows
from twlcli.errors import AnnotationError
from twlcli.labels import ABSENT, PRESENT, UNKNOWN

COLUMNS = ("image", "label", "verdict")
VERDICTS = {"present": PRESENT, "absent": ABSENT, "unknown": UNKNOWN}
_DELIMITERS = (",", ";", "\t")

_START = 1 << 16  # bytes that show what a file is
_TABLE = re.compile(
    rb'(?:\xef\xbb\xbf)?"?image"?([,;\t])"?label"?\1"?verdict"?\r?\n'
    rb'.*\1"?(?:present|absent|unknown)"?\r?(?:\n|$)',
    re.IGNORECASE | re.DOTALL,
)


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
        tables = sorted(each for each in path.iterdir() if each.suffix.lower() == ".csv")
    if not tables:
        raise AnnotationError(f"{path}: holds no .csv file; expected tables of corrections")
    return tables


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
    """Whether a file begins as a table of image, label and verdict does."""
    check_is_file(path)
    with readable(path), path.open("rb") as file:
        return _TABLE.match(file.read(_START)) is not None


def read_verdicts(path: Path, options: ReadOptions) -> Annotations:
    """Labels that are nothing but verdicts: whatever has none is unknown.

    Raises:
        AnnotationError: as `read_corrections`.
    """
    builder = AnnotationBuilder(path, format_name="corrections", root=path.parent)
    images = JoinedRows(builder, path, others_unknown=True)
    for each in read_corrections(path):
        columns = builder.columns([each.label])
        present, absent = (columns if each.value == value else () for value in (PRESENT, ABSENT))
        images.add(each.image, present, absent=absent, line=each.line)
    images.finish()
    builder.note("labels of an image that have no verdict were read as unknown")
    return builder.finish()


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The lines of the table, with the cells of the three columns."""
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
    found = []
    for line, cells in lines:
        if not any(cells):
            continue
        if len(cells) <= max(places.values()):
            raise AnnotationError.at(path, line, f"has {len(cells)} cells; expected {len(header)}")
        found.append((line, {name: cells[place] for name, place in places.items()}))
    return found
