"""The columns of a table that its reader was told of by name."""

from __future__ import annotations

import csv
import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from twlcli.annotations.read_options import ReadOptions
from twlcli.errors import AnnotationError, did_you_mean

_LISTED = 20  # names of a header in a message


@dataclass(frozen=True)
class NamedColumns:
    """Places in a header; None and empty where no name was given.

    Attributes:
        labels: the lists of labels.
        label_columns: a label each, without those to ignore.
        split: the images' parts.
        group: what images belong to.
        ignored: not to be read as anything.
    """

    labels: int | None = None
    label_columns: tuple[int, ...] = ()
    split: int | None = None
    group: int | None = None
    ignored: frozenset[int] = frozenset()


def normal_name(name: str) -> str:
    """A column's name as it is compared: `Image Index`, `image_index` and `ImageIndex` are one."""
    return re.sub(r"[\s_-]", "", name).casefold()


def find_named(path: Path, header: Sequence[str], options: ReadOptions) -> NamedColumns:
    """The places of the columns that options name.

    Raises:
        AnnotationError: the header has no such column, or labels are both in lists and in columns.
    """

    def place(name: str | None) -> int | None:
        return None if name is None else place_of(path, header, name)

    if options.labels_column is not None and options.label_columns is not None:
        raise AnnotationError(
            f"{path}: labels are either in lists or in a column each",
            hint="give {labels_column} or {label_columns}",
        )
    ignored = select_columns(path, header, options.ignore_columns or "")
    label_columns = select_columns(path, header, options.label_columns or "")
    kept = tuple(each for each in label_columns if each not in ignored)
    if options.label_columns is not None and not kept:
        message = f"{options.label_columns!r} leaves no column of a label"
        raise AnnotationError.at(path, 1, message)
    return NamedColumns(
        place(options.labels_column),
        kept,
        place(options.split_column),
        place(options.group_column),
        frozenset(ignored),
    )


def select_columns(path: Path, header: Sequence[str], text: str) -> tuple[int, ...]:
    """The places that a list of names, ranges `first:last` and patterns such as `label_*` selects.

    A name with a comma in it stands in double quotes. A column whose name is that of an entry as
    it stands is that one, be there a `:` or `*` in it.

    Raises:
        AnnotationError: an entry selects nothing, or a range runs backwards.

    Example:
        >>> select_columns(Path("a.csv"), ("image", "age", "cat", "cow", "dog"), "age, c*")
        (1, 2, 3)
    """
    entries = next(csv.reader([text], skipinitialspace=True), [])
    places: dict[int, None] = {}
    for entry in filter(None, map(str.strip, entries)):
        places |= dict.fromkeys(_selected(path, header, entry))
    return tuple(places)


def _selected(path: Path, header: Sequence[str], entry: str) -> Sequence[int]:
    if entry in header:
        return [header.index(entry)]
    if any(sign in entry for sign in "*?"):
        pattern = entry.replace("[", "[[]")
        found = [
            at for at, name in enumerate(header) if name and fnmatch.fnmatchcase(name, pattern)
        ]
        if not found:
            raise _no_column(path, header, entry, f"no column's name is like '{entry}'")
        return found
    for at in (at for at, sign in enumerate(entry) if sign == ":"):
        first, last = entry[:at].strip(), entry[at + 1 :].strip()
        if first in header and last in header:
            start, end = header.index(first), header.index(last)
            if start > end:
                message = f"'{entry}': the column '{last}' stands before '{first}'"
                raise AnnotationError.at(path, 1, message)
            return range(start, end + 1)
    if ":" in entry:
        first, _, last = entry.partition(":")
        wrong = next(name for name in (first.strip(), last.strip()) if name not in header)
        raise _no_column(path, header, wrong)
    raise _no_column(path, header, entry)


def place_of(path: Path, header: Sequence[str], name: str) -> int:
    """The place of a column.

    Raises:
        AnnotationError: there is none of that name; lists the header, and names the nearest.
    """
    if name in header:
        return header.index(name)
    raise _no_column(path, header, name)


def listed(header: Sequence[str]) -> str:
    """The names of a header, for messages."""
    names = [name for name in header if name]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _no_column(
    path: Path, header: Sequence[str], name: str, message: str | None = None
) -> AnnotationError:
    message = message or f"no column is called '{name}'"
    nearest = did_you_mean(name, filter(None, header))
    return AnnotationError.at(path, 1, f"{message}; the columns are: {listed(header)}{nearest}")
