"""Columns of a table that name the parts of a data set."""

from __future__ import annotations

import re
from collections.abc import Sequence

from twlcli.annotations.builder import SPLIT_NAMES
from twlcli.annotations.marks import MISSING, mark_value
from twlcli.annotations.named_columns import normal_name
from twlcli.labels import ABSENT, PRESENT

# What says of each row whether it is in a split: the split by 0 and by 1.
INDICATORS = {
    **dict.fromkeys(("isvalid", "isval", "isvalidation"), ("train", "val")),
    "istest": ("train", "test"),
    **dict.fromkeys(("istrain", "istraining"), ("val", "train")),
}
_FOLDS = ("fold", "kfold", "foldid", "cvfold")
_WHOLE_NUMBER = re.compile(r"(\d{1,9})(\.0)?")


def is_split(name: str, cells: Sequence[str]) -> bool:
    """Whether a column names splits, by its normal name and the cells that are not empty."""
    if name == "split":
        return True
    if name in INDICATORS:
        return all(map(_is_zero_or_one, cells))
    known = any(cell.casefold() in SPLIT_NAMES for cell in cells)
    if name in ("set", "subset", "partition", *_FOLDS) and known:
        return True
    if name in _FOLDS and cells:
        return all(map(_WHOLE_NUMBER.fullmatch, cells))
    if name == "partition" and cells:
        return all(map(_WHOLE_NUMBER.fullmatch, cells)) and not all(map(_is_zero_or_one, cells))
    return False


def _is_zero_or_one(cell: str) -> bool:
    return mark_value(cell) in (PRESENT, ABSENT)


def split_name(column: str, cell: str) -> str:
    """The split that a cell names.

    Example:
        >>> [split_name("is_valid", "True"), split_name("kfold", "3"), split_name("Set", "train")]
        ['val', 'fold 3', 'train']
    """
    cell = cell.strip()
    name = normal_name(column)
    if cell in MISSING:
        return ""
    if name in INDICATORS:
        mark = mark_value(cell)
        return cell if mark not in (PRESENT, ABSENT) else INDICATORS[name][mark]
    if name in ("partition", *_FOLDS) and (number := _WHOLE_NUMBER.fullmatch(cell)):
        return f"{'partition' if name == 'partition' else 'fold'} {number[1]}"
    return cell
