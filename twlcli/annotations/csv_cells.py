"""Rows of CSV whose cells spreadsheets show and do not run, and what readers make of them again."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TextIO

from twlcli.annotations.separators import NEEDS_JSON

# A spreadsheet runs a cell that begins with one of these, also after white space (OWASP, "CSV
# injection"); the last four are the same signs in the width of Chinese characters.
FORMULA_SIGNS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")


_MAY_NEED_QUOTES = '",;\t\r'
_ODD_BEGIN = re.compile(rf"\n[\s.{re.escape(''.join(sorted(FORMULA_SIGNS)))}]")


def is_formula(text: str) -> bool:
    """Whether a spreadsheet would run a cell with this text, or drop white space at its start."""
    return text[:1].isspace() or text[:1] in FORMULA_SIGNS


def need_json(labels: Iterable[str]) -> bool:
    """Whether lists of these labels have to be JSON: one holds a separator, or would be run."""
    return any(is_formula(label) or NEEDS_JSON.search(label) is not None for label in labels)


def cell_of_image(name: str) -> str:
    """An image's name as a cell that no spreadsheet runs: `./` before one that it would.

    The path stays that of the same file, so that every reader still finds it; an apostrophe,
    which is what spreadsheets hide, would name another one. A name that has such a `./` already
    gets one more, so that different names stay different.

    >>> cell_of_image("=1+1.jpg"), cell_of_image("./=1+1.jpg"), cell_of_image("./1.jpg")
    ('./=1+1.jpg', '././=1+1.jpg', './1.jpg')
    """
    return f"./{name}" if is_formula(_without(name, "./")) else name


def image_of_cell(cell: str) -> str:
    """The name of which `cell_of_image` made a cell."""
    return cell[2:] if cell.startswith("./") and is_formula(_without(cell, "./")) else cell


def cell_of_text(text: str) -> str:
    """A text that is no path as a cell that no spreadsheet runs: an apostrophe before it.

    >>> cell_of_text("=1+1"), cell_of_text("'=1+1"), cell_of_text("'tis")
    ("'=1+1", "''=1+1", "'tis")
    """
    return f"'{text}" if is_formula(_without(text, "'")) else text


def text_of_cell(cell: str) -> str:
    """The text of which `cell_of_text` made a cell."""
    return cell[1:] if cell.startswith("'") and is_formula(_without(cell, "'")) else cell


def _without(text: str, before: str) -> str:
    while text.startswith(before):
        text = text[len(before) :]
    return text


def row_writer(file: TextIO, delimiter: str = ",") -> Callable[[Sequence[str]], None]:
    r"""Writes rows that end in \n, with quotes where a cell needs them.

    Python's csv module would leave a lone \r without quotes, and readers take it as a line's end;
    and `;` and tabs, at which spreadsheets of some countries begin a new cell.
    """
    plain = csv.writer(file, delimiter=delimiter, lineterminator="\n")
    quoted = csv.writer(file, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def write_row(cells: Sequence[str]) -> None:
        special = any(sign in cell for cell in cells for sign in "\r;\t")
        (quoted if special else plain).writerow(cells)

    return write_row


def rows_of_images(images: Sequence[str], texts: Sequence[str]) -> str:
    r"""The rows of a table of images' names and a text each, such as their splits.

    >>> rows_of_images(["a.jpg", "=1.jpg"], ["train", "val"])
    'a.jpg,train\n./=1.jpg,val\n'
    """
    cell_of = {text: cell_of_text(text) for text in dict.fromkeys(texts)}
    lines = "\n".join(("", *images, ""))
    written = "".join((lines, *cell_of.values()))
    is_plain = written.count("\n") == len(images) + 1 and not _ODD_BEGIN.search(lines)
    if is_plain and not any(sign in written for sign in _MAY_NEED_QUOTES):
        end_of = {text: f",{cell}\n" for text, cell in cell_of.items()}
        cells = [""] * (2 * len(images))
        cells[::2] = images
        cells[1::2] = map(end_of.__getitem__, texts)
        return "".join(cells)
    table = io.StringIO(newline="")
    write_row = row_writer(table)
    for name, text in zip(images, texts, strict=True):
        write_row((cell_of_image(name), cell_of[text]))
    return table.getvalue()
