"""Lists of 1 and 0 that have an entry for each label: vectors, not numbers of labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from twlcli.annotations.label_names import LabelNames
from twlcli.annotations.list_cells import list_in, shortened
from twlcli.annotations.marks import MISSING
from twlcli.annotations.separators import LIST
from twlcli.errors import AnnotationError

Entries = list[int]

NOTE_OF_VECTORS = "lists of 1 and 0 were read as entries of the labels, in the order of their names"

# In text: digits alone, or numbers with something between them.
_DIGITS = re.compile(r"[01]{2,}")
_NUMBERS = re.compile(r"-?\d{1,18}(\.0*)?([\s,;|]+-?\d{1,18}(\.0*)?)+")
_NUMBER = re.compile(r"(-?\d{1,18})(?:\.0*)?")
_MOST = 0.9  # of all entries that are 1, 0 or -1 make lists with an entry twice vectors


def entries_of(labels: object) -> Entries | None:
    """The entries of a list of 1 and 0, or of a cell that holds one; None for anything else.

    Example:
        >>> [entries_of(labels) for labels in ("[1. 0.]", "1 0", "101", [0, 1.0], "[1, 2]", "[]")]
        [[1, 0], [1, 0], [1, 0, 1], [0, 1], None, None]
    """
    entries = _numbers_in(labels)
    return entries if entries and all(each in (0, 1) for each in entries) else None


def _numbers_in(labels: object) -> Entries | None:
    """The whole numbers in a list, or in a cell that holds one; None for anything else."""
    if isinstance(labels, str):
        text = labels.strip()
        if _DIGITS.fullmatch(text):
            return list(map(int, text))
        if _NUMBERS.fullmatch(text):
            return [int(number) for number in _NUMBER.findall(text)]
        if not LIST.match(text) or '"' in text or "'" in text:
            return None
        try:
            labels = list_in(text)
        except ValueError:
            return None
    if not isinstance(labels, list):
        return None
    if all(type(each) in (int, bool) or _is_whole(each) for each in labels):
        return [int(each) for each in labels]
    return None


def _is_whole(value: object) -> bool:
    return isinstance(value, float) and value.is_integer()


def find_vectors(
    labels: Iterable[Any], source: Path, names: LabelNames | None
) -> Callable[[object], list[str]] | None:
    """From a vector to the names of its labels, where the labels of all images are vectors.

    Args:
        labels: those of each image.
        source: the file, for the error.
        names: with names, vectors have an entry for each of them; others are numbers of labels.

    Raises:
        AnnotationError: they are vectors, and nobody said what the entries are called, or there are
            more names or fewer; or nearly all are.
    """
    length, is_certain = _length(labels, source)
    if not length or (names is not None and len(names) != length and not is_certain):
        return None
    if names is not None and len(names) != length:
        message = f"every image has a list of {length} entries of 1 and 0, but {names.path} has"
        raise AnnotationError(f"{source}: {message} {len(names)} names")
    if names is None:
        message = f"every image has a list of {length} entries of 1 and 0, one for each label"
        hint = "{names} names a file with the names of the labels in their order"
        raise AnnotationError(f"{source}: {message}", hint=hint)

    def read(labels: object) -> list[str]:
        entries = entries_of(labels) or []
        return [name for name, entry in zip(names, entries, strict=False) if entry]

    return read


def _length(labels: Iterable[Any], source: Path) -> tuple[int, bool]:
    """The length of the vectors that the labels of all images are; 0 where they are none.

    With it comes whether they can be nothing else, as an entry occurs twice in one of them.

    Vectors have one length above 1, and both 1 and 0 occur; in lists of the labels 0 and 1 neither
    occurs twice, nor 1 before 0. Images without labels do not count. Digits without anything
    between them may be a number, which does not begin with 0.

    Raises:
        AnnotationError: entries occur twice and nearly all are 1, 0 or -1, yet they are no vectors.
    """
    length, is_number, is_list, is_certain = 0, True, True, False
    seen, entries_seen, marks = set[int](), 0, 0
    odd: tuple[int, object] | None = None  # the first that is no vector
    twice: tuple[int, object] | None = None  # the first with an entry twice
    for row, each in enumerate(labels, start=1):
        text = each.strip() if isinstance(each, str) else "[]" if each == [] else each
        if text is None or text in ("", "[]") or (isinstance(text, str) and text in MISSING):
            continue
        entries = _numbers_in(text)
        if entries is None:
            odd = odd or (row, text)
            entries_seen += len(each) if isinstance(each, list) else 1
            continue
        length = length or len(entries)
        if len(entries) != length or not {0, 1}.issuperset(entries):
            odd = odd or (row, text)
        seen.update(entries)
        entries_seen += len(entries)
        marks += sum(-1 <= entry <= 1 for entry in entries)
        may_be_number = isinstance(text, str) and text.isdigit() and text[0] != "0"
        if len(set(entries)) < len(entries) and not may_be_number:
            twice = twice or (row, text)
        is_certain |= len(set(entries)) < len(entries)
        is_list &= entries == sorted(set(entries))
        is_number &= may_be_number
    if not odd and length > 1 and seen == {0, 1} and not (is_list or is_number):
        return length, is_certain
    if twice and marks >= _MOST * entries_seen:
        row, text = odd or twice
        message = (
            f"image {row} has '{shortened(str(text))}', but lists that repeat 1 or 0 have an entry "
            "for each label, which is 1 or 0, and all have one length"
        )
        hint = "mend the list; lists of the labels' numbers name each once"
        raise AnnotationError(f"{source}: {message}", hint=hint)
    return 0, is_certain
