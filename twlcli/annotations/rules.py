"""What the cells of a label file were found to mean, so that several files mean the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from twlcli.errors import AnnotationError
from twlcli.labels import some_of

WHOLE = "whole"  # cells with blanks that were read as one label


@dataclass(frozen=True)
class Rules:
    """How the cells of a file were read where nobody said it.

    Attributes:
        file: the file.
        separator: what separates labels; empty where no cell showed it, `WHOLE` where blanks do
            not.
        labels: those that have a column.
        zeros: labels in whose columns a 0 stands.
        empty_absent: labels whose empty cells were read as absent.
        minus_one_absent: whether -1 was read as absent.
    """

    file: Path
    separator: str = ""
    labels: frozenset[str] = frozenset()
    zeros: frozenset[str] = frozenset()
    empty_absent: frozenset[str] = frozenset()
    minus_one_absent: bool = False


def check_rules(rules: Iterable[Rules]) -> None:
    """Raise AnnotationError where one file of several was read by another rule than the others."""
    for one, other in permutations(rules, 2):
        if shared := sorted(one.empty_absent & other.zeros):
            here = f"empty cells of the label '{shared[0]}' would be absent, as no cell of it is 0"
            message = f"{here}, but unknown by {other.file}, where one is"
            raise AnnotationError(f"{one.file}: {message}", hint="{blank} says what they are")
        if one.minus_one_absent and other.zeros:
            message = f"-1 would be absent, as no cell is 0, but {other.file} has cells of 0"
            raise AnnotationError(f"{one.file}: {message}", hint="{minus_one} says what it is")
        pair = (one.separator, other.separator)
        if all(pair) and pair[0] != pair[1] and (WHOLE not in pair or " " in pair):
            found = " and ".join(
                f"{_named(each.separator)} in {each.file}" for each in (one, other)
            )
            message = f"labels are separated in different ways: {found}"
            raise AnnotationError(
                f"{one.file}: {message}", hint="write them alike, or give {separator}"
            )


def notes_of_columns(rules: Iterable[Rules]) -> list[str]:
    """Notes of files that have no column for labels that others have."""
    with_columns = [rule for rule in rules if rule.labels]
    every = frozenset[str]().union(*(rule.labels for rule in with_columns))
    return [
        f"labels that {rule.file} does not know are absent from its images: {some_of(missing)}"
        for rule in with_columns
        if (missing := sorted(every - rule.labels))
    ]


def _named(separator: str) -> str:
    names = {" ": "blanks", WHOLE: "nothing", "json": "lists", "choices": "lists of choices"}
    return names.get(separator) or f"'{separator}'"
