"""Corrections of labels: what somebody who looked at images says of some of their labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.csv_cells import image_of_cell, text_of_cell
from twlcli.annotations.encoding import find_encoding, readable
from twlcli.annotations.rows import table_rows
from twlcli.errors import AnnotationError, did_you_mean
from twlcli.labels import ABSENT, PRESENT, UNKNOWN, LabelMatrix

COLUMNS = ("image", "label", "verdict")
VERDICTS = {"present": PRESENT, "absent": ABSENT, "unknown": UNKNOWN}
_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True)
class Correction:
    """What is right for one label of one image.

    Attributes:
        line: of the file.
        image: its name, as the label file has it.
        label: the label's.
        value: 1 present, 0 absent, -1 unknown.
    """

    line: int
    image: str
    label: str
    value: int


def read_corrections(path: Path) -> list[Correction]:
    """Read a table with the columns `image`, `label` and `verdict`.

    A verdict is `present`, `absent` or `unknown`. Other columns are left alone.

    Raises:
        AnnotationError: it is no such table, or says two things of the same label of an image.
    """
    found: dict[tuple[str, str], Correction] = {}
    for line, row in _rows(path):
        verdict = row["verdict"].strip().lower()
        if verdict not in VERDICTS:
            raise AnnotationError.at(
                path, line, f"verdict '{row['verdict']}'; expected {', '.join(VERDICTS)}"
            )
        image, label = image_of_cell(row["image"]), text_of_cell(row["label"])
        correction = Correction(line, image, label, VERDICTS[verdict])
        before = found.setdefault((image, label), correction)
        if before.value != correction.value:
            raise AnnotationError.at(
                path,
                line,
                f"label '{label}' of image '{image}' has another verdict on line {before.line}",
            )
    return list(found.values())


def corrected(annotations: Annotations, path: Path) -> Annotations:
    """The annotations with the corrections of a file.

    Args:
        annotations: with all labels that the file names.
        path: see `read_corrections`.

    Raises:
        AnnotationError: it cannot be read, or names an image or label that is not there.
    """
    rows = {image: row for row, image in enumerate(annotations.images)}
    changes: dict[tuple[int, int], int] = {}
    for each in read_corrections(path):
        if each.image not in rows:
            hint = did_you_mean(each.image, annotations.images)
            raise AnnotationError.at(
                path, each.line, f"there is no image '{each.image}' in {annotations.source}{hint}"
            )
        if each.label not in annotations.vocabulary:
            hint = did_you_mean(each.label, annotations.vocabulary.names)
            raise AnnotationError.at(
                path, each.line, f"there is no label '{each.label}' in {annotations.source}{hint}"
            )
        changes[rows[each.image], annotations.vocabulary.column(each.label)] = each.value
    labels, changed = _changed(annotations.labels, changes)
    note = f"{path}: {changed:,} of {len(changes):,} corrections change a label"
    return replace(annotations, labels=labels).with_note(note)


def _changed(
    labels: LabelMatrix, changes: Mapping[tuple[int, int], int]
) -> tuple[LabelMatrix, int]:
    """The matrix with some entries set, and how many of them were another value before."""
    if not changes:
        return labels, 0
    entries = np.array([*changes], dtype=np.int64)
    rows, places = np.unique(entries[:, 0], return_inverse=True)
    before = labels.dense(rows)
    after = before.copy()
    after[places, entries[:, 1]] = list(changes.values())
    new = LabelMatrix.from_dense(after)
    both = LabelMatrix(
        np.concatenate((labels.starts, labels.starts[-1] + new.starts[1:])),
        np.concatenate((labels.columns, new.columns)),
        np.concatenate((labels.values, new.values)),
        labels.label_count,
    )
    order = np.arange(len(labels))
    order[rows] = len(labels) + np.arange(len(rows))
    return both.select(order), int((before != after).sum())


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
