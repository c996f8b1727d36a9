"""What a cell says of one label: that it is present, absent or unknown, or nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from twlcli.labels import ABSENT, PRESENT, UNKNOWN

# The usual spellings. `1.0` is what pandas writes beside empty cells.
CELL_VALUES = {
    **dict.fromkeys(("1", "1.0", "True", "true", "TRUE"), PRESENT),
    **dict.fromkeys(("0", "0.0", "False", "false", "FALSE"), ABSENT),
    **dict.fromkeys(("-1", "-1.0"), UNKNOWN),
}

# Whole cells that programs write where there is nothing.
MISSING = frozenset(
    ("nan", "NaN", "NAN", "None", "none", "NA", "N/A", "n/a", "#N/A", "null", "NULL", "<NA>")
) | {"<null>"}

_WHOLE = re.compile(r"([+-]?)0*([01])([.,]0*)?")  # 1.00, 01 and, with a decimal comma, 1,0
# Words for present and absent, as people write them into a column.
_PAIRS = (
    ("yes", "no"),
    ("y", "n"),
    ("true", "false"),
    ("t", "f"),
    ("x", "-"),
    ("✓", "✗"),
    ("✓", "-"),
    ("✔", "✘"),
    ("✔", "-"),
    ("present", "absent"),
    ("positive", "negative"),
    ("ja", "nein"),
    ("j", "n"),
    ("oui", "non"),
    ("sí", "no"),
    ("si", "no"),
)


def mark_value(cell: str, words: Mapping[str, int] | None = None) -> int | None:
    """PRESENT, ABSENT or UNKNOWN; None for a cell that says something else.

    Args:
        cell: without blanks around it.
        words: values of words, in lower case; see `words_for`.

    Example:
        >>> [mark_value(cell) for cell in ("1", "0.00", "-1", "0.9", "yes")]
        [1, 0, -1, None, None]
    """
    value = CELL_VALUES.get(cell)
    if value is None and (whole := _WHOLE.fullmatch(cell)):
        return int(whole[2]) * (UNKNOWN if whole[1] == "-" else PRESENT)
    if value is None and words:
        return words.get(cell.casefold())
    return value


def is_mark(cell: str) -> bool:
    """Whether a cell is 1, 0, -1, true or false."""
    return mark_value(cell) is not None


def words_for(cells: Collection[str], *, with_empty: bool) -> dict[str, int]:
    """The words for present and absent in a column that holds nothing else; else empty.

    Args:
        cells: those that are not empty.
        with_empty: whether others are; the word for present may then stand alone.

    Example:
        >>> words_for(["Yes", "no"], with_empty=False)
        {'yes': 1, 'no': 0}
    """
    found = {cell.casefold() for cell in cells}
    for present, absent in _PAIRS:
        if found == {present, absent} or (with_empty and found == {present}):
            return {present: PRESENT, absent: ABSENT}
    return {}


def number_in(cell: str) -> float | None:
    """The number that a cell is; None for another.

    Example:
        >>> number_in("0.93"), number_in("0,93"), number_in("dog")
        (0.93, 0.93, None)
    """
    try:
        return float(cell.replace(",", ".", 1))
    except ValueError:
        return None


def first_fraction(cells: Sequence[str]) -> str | None:
    """The first number between 0 and 1 where all cells are from 0 to 1; None if there is none."""
    numbers = [number_in(cell) for cell in cells]
    if any(number is None or not 0 <= number <= 1 for number in numbers):
        return None
    between = (c for c, n in zip(cells, numbers, strict=True) if n is not None and 0 < n < 1)
    return next(between, None)
