"""Cells that list labels."""

from __future__ import annotations

import ast
import csv
import json
import re
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from twlcli.annotations.marks import MISSING
from twlcli.annotations.separators import BLANK, CHOICES, JSON_LIST, LIST, R_NUMBERS, R_TEXTS
from twlcli.io import parse_json

_ITEM = r"""(?:"[^"]*"|'[^']*'|-?\d+\.?\d*)"""
_NUMPY = re.compile(rf"\[\s*{_ITEM}(?:\s+{_ITEM})*\s*\]")
_ITEMS = re.compile(_ITEM)
# `array([...], dtype=object)`, `frozenset({...})`, `c(...)` of R, and numbers and texts of NumPy.
_CALL = re.compile(r"(?:\w+\.)?(?:array|tensor|set|frozenset|list|tuple|c)\((.*)\)", re.DOTALL)
_KEYWORDS = re.compile(r"(,\s*(dtype|device)\s*=\s*[^,()]+)+$")
_SCALAR = re.compile(r"\b(?:np|numpy)\.\w+\(([^()]*)\)")
# Between brackets, as Postgres writes it: without quotes, or only where they are needed.
_BARE = re.compile(r"[\[({]([^\[\](){}:;|']*)[\])}]")

_R_NOTHING = re.compile(r"(?:character|integer|numeric|list)\(0?\)")
_R_RANGE = re.compile(r"(\d{1,9})L?:(\d{1,9})L?")
_R_WHOLE = re.compile(r"\b(\d+)L\b")
_R_MOST = 10_000  # numbers in a range


def cell_splitter(separator: str) -> Callable[[str], list[str]]:
    """From a cell to its labels; see `find_separator`. Raises ValueError for what is no list."""
    separator = "\t" if separator == "\\t" else separator  # as shells hand it over
    parsers: dict[str, Callable[[str], list[str]]] = {
        JSON_LIST: json_names,
        CHOICES: _names_or_one,
        R_TEXTS: partial(_of_r, are_numbers=False),
        R_NUMBERS: partial(_of_r, are_numbers=True),
        BLANK: _words,
    }
    return parsers.get(separator) or _splitter(separator)


def _words(cell: str) -> list[str]:
    return cell.split()


def _splitter(separator: str) -> Callable[[str], list[str]]:
    """Line breaks separate too, whatever else does."""
    return re.compile(rf"\r\n|\r|\n|{re.escape(separator)}").split


def json_names(cell: str) -> list[str]:
    """The labels in a JSON list, or in one as programs write it; none in an empty cell.

    Of values by name, such as `{'dog': 1, 'cat': 0}`, the names with 1.

    Raises:
        ValueError: it is no such list.
    """
    if not cell.strip():
        return []
    try:
        names = list_in(cell)
        why = ""
    except ValueError as error:
        names, why = None, str(error)
        if isinstance(error, json.JSONDecodeError):
            why = f"{error.msg} at character {error.pos + 1}"
    if names is not None:
        texts = [_text(name) for name in names if name is not None]
        if None not in texts:
            return [text for text in texts if text is not None]
    because = f" ({why})" if why else ""
    raise ValueError(
        f"'{shortened(cell)}' is no list of labels{because}; where one cell begins as a list, all "
        "are read as lists unless a separator is given"
    )


def list_in(cell: str) -> list[Any] | None:
    """The list that a cell holds, in JSON or as programs write it; None for something else.

    Raises:
        ValueError: it is neither JSON nor anything else.

    Example:
        >>> [list_in(cell) for cell in ("[1 0]", "{dog,cat}", "array(['dog'], dtype=object)")]
        [[1, 0], ['dog', 'cat'], ['dog']]
    """
    try:
        found: Any = parse_json(cell)
    except ValueError:
        found = _as_programs_write(cell.strip())
        if found is None:
            raise
    if isinstance(found, dict):
        found = found["choices"] if "choices" in found else _marked(found)
    if isinstance(found, set | frozenset):
        found = sorted(found, key=str)
    if isinstance(found, bytes):
        found = [found]
    return list(found) if isinstance(found, list | tuple) else None


def _marked(values: dict[Any, Any]) -> list[Any]:
    """The names with 1 or True. Raises ValueError for other values than 1 and 0."""
    if any(not isinstance(value, int | float) or value not in (0, 1) for value in values.values()):
        raise ValueError("its values are not all 1 and 0")
    return [name for name, value in values.items() if value]


def _names_or_one(cell: str) -> list[str]:
    """Label Studio writes a single choice without its braces."""
    return json_names(cell) if LIST.match(cell) else [cell]


def _of_r(cell: str, *, are_numbers: bool) -> list[str]:
    """R writes a single item without `c()`, numbers that follow each other as 3:5, and 7L for 7."""
    cell = cell.strip()
    if _R_NOTHING.fullmatch(cell):
        return []
    if LIST.match(cell):
        return json_names(_R_WHOLE.sub(r"\1", cell) if are_numbers else cell)
    if found := _R_RANGE.fullmatch(cell):
        first, last = int(found[1]), int(found[2])
        if not are_numbers or not 0 <= last - first < _R_MOST:
            raise ValueError(f"'{shortened(cell)}' may be a label or numbers; write out which")
        return [str(number) for number in range(first, last + 1)]
    return [_R_WHOLE.sub(r"\1", cell) if are_numbers else cell]


def _text(item: Any) -> str | None:
    """An item of a list as a label; None for what is none."""
    if isinstance(item, bytes):
        return item.decode("utf-8", "surrogateescape")
    if type(item) is float and item.is_integer():
        return str(int(item))
    return str(item) if type(item) in (str, int) else None


def _as_programs_write(cell: str) -> object:
    """A list as Python, pandas, NumPy, R and Postgres write it; None if it is none."""
    while found := _CALL.fullmatch(cell):
        cell = _KEYWORDS.sub("", found[1].strip())
        if not cell.startswith(("[", "(", "{")):
            cell = f"[{cell}]"
    cell = _SCALAR.sub(r"\1", cell)
    if _NUMPY.fullmatch(cell):  # Python would make one text of all of them
        return [_item(text) for text in _ITEMS.findall(cell)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's, of an escape that it does not know
            return ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return _bare(cell)


def _item(text: str) -> str | int | float:
    if text[0] in "\"'":
        return text[1:-1]
    number = float(text)
    return int(number) if number.is_integer() else number


def _bare(cell: str) -> list[str | None] | None:
    """Words between brackets, separated by commas; one of several words stands beside others."""
    found = _BARE.fullmatch(cell)
    if not found:
        return None
    words = next(csv.reader([found[1].replace("\n", " ")], skipinitialspace=True), [])
    if len(words) == 1 and " " in words[0].strip() and '"' not in cell:
        return None
    return [None if word.strip() in MISSING else word for word in words]


def shortened(cell: str) -> str:
    """A cell in an error message."""
    return cell if len(cell) <= 60 else cell[:57] + "..."
