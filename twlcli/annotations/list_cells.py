"""Cells that list labels."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Callable

from twlcli.annotations.separators import BLANK, CHOICES, JSON_LIST, LIST
from twlcli.io import parse_json

_NUMPY = re.compile(r"""\[\s*(?:"[^"]*"|'[^']*')(?:\s+(?:"[^"]*"|'[^']*'))*\s*\]""")
_QUOTED = re.compile(r""""([^"]*)"|'([^']*)'""")


def cell_splitter(separator: str) -> Callable[[str], list[str]]:
    """From a cell to its labels; see `find_separator`. Raises ValueError for what is no list."""
    parsers = {JSON_LIST: json_names, CHOICES: _names_or_one, BLANK: _words}
    return parsers.get(separator) or _splitter(separator)


def _words(cell: str) -> list[str]:
    return cell.split()


def _splitter(separator: str) -> Callable[[str], list[str]]:
    return lambda cell: cell.split(separator)


def json_names(cell: str) -> list[str]:
    """The labels in a JSON list, or in one as programs write it; none in an empty cell.

    Raises:
        ValueError: it is no such list.
    """
    if not cell.strip():
        return []
    why = ""
    try:
        names = parse_json(cell)
    except ValueError as error:
        names = _as_programs_write(cell.strip())
        why = str(error)
        if isinstance(error, json.JSONDecodeError):
            why = f"{error.msg} at character {error.pos + 1}"
    if isinstance(names, dict) and isinstance(names.get("choices"), list):  # Label Studio
        names = names["choices"]
    if isinstance(names, set | frozenset):
        names = sorted(names, key=str)
    if isinstance(names, list | tuple) and all(type(name) in (str, int) for name in names):
        return [str(name) for name in names]
    because = f" ({why})" if why else ""
    raise ValueError(
        f"'{shortened(cell)}' is not a JSON list of labels{because}; where one cell begins with "
        "'[' all are read as JSON lists unless a separator is given"
    )


def _names_or_one(cell: str) -> list[str]:
    """Label Studio writes a single choice without its braces."""
    return json_names(cell) if LIST.match(cell) else [cell]


def _as_programs_write(cell: str) -> object:
    """A list as Python and pandas write it, `['dog', "cat's"]`, or NumPy, `['dog' 'cat']`.

    None if it is neither.
    """
    if _NUMPY.fullmatch(cell):  # Python would make one text of all of them
        return [one or other for one, other in _QUOTED.findall(cell)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's, of an escape that it does not know
            return ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def shortened(cell: str) -> str:
    """A cell in an error message."""
    return cell if len(cell) <= 60 else cell[:57] + "..."
