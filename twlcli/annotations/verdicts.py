"""Whether the labels of a table's row are present: the column `confidence` and its kind."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from twlcli.annotations.builder import AnnotationBuilder
from twlcli.annotations.csv_layout import Layout, iterate_rows
from twlcli.annotations.list_cells import shortened
from twlcli.annotations.marks import mark_value
from twlcli.errors import AnnotationError
from twlcli.labels import ABSENT, PRESENT

Verdict = Callable[[int, list[str]], bool]


def find_verdict(builder: AnnotationBuilder, path: Path, layout: Layout) -> Verdict | None:
    """Whether a row's labels are present, from its line and cells; None where all are.

    Raises:
        AnnotationError: a cell is neither 1 nor 0. A probability does not say it.
    """
    place = layout.columns.verdict
    if place is None:
        return None
    words = layout.columns.words.get(place)
    name = layout.header[place]

    def is_present(line: int, cells: list[str]) -> bool:
        value = mark_value(cells[place].strip(), words)
        if value not in (PRESENT, ABSENT):
            message = (
                f"'{name}' is '{shortened(cells[place])}'; expected 1 or 0: whether the label is "
                "present"
            )
            hint = f"with {{ignore_columns}} {shlex.quote(name)} it is present in every row"
            raise AnnotationError.at(path, line, message, hint=hint)
        return value == PRESENT

    if all(is_present(line, cells) for line, cells in iterate_rows(path, layout)):
        return None
    present, absent = words or (1, 0)
    builder.note(
        f"'{name}' {present} was read as present and {absent} as absent; labels that no row of an "
        "image names are unknown in it"
    )
    return is_present


def doubt(layout: Layout) -> str:
    """What to say where an image has several rows, and a column may say which of them hold.

    Empty where there is no such column.
    """
    if not layout.columns.doubtful:
        return ""
    name = layout.header[layout.columns.doubtful[0]]
    return (
        f"'{name}' may say whether the label of a row is present: call it 'confidence' if so, or "
        f"{{ignore_columns}} {shlex.quote(name)}"
    )
