"""Finding out what separates the labels in a cell, once for a whole file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from twlcli.annotations.marks import MISSING
from twlcli.annotations.rules import WHOLE
from twlcli.errors import AnnotationError

SEPARATORS = ("|", ";", ",")  # between the labels in a cell; the order is the rule
JSON_LIST = "json"
CHOICES = "choices"  # as lists, with a single label as it is
R_TEXTS = "R's texts"  # in c(), with a single label as it is
R_NUMBERS = "R's numbers"  # the same, with 3:5 for 3, 4 and 5
BLANK = " "

CALLS = r"(?:\w+\.)?(?:array|tensor|set|frozenset|list|tuple|c)\("
# A list in JSON or of a program: it begins with a bracket and a quote; or all of it stands between
# brackets, with something between its parts, numbers or nothing inside; or no bracket closes it.
LIST = re.compile(
    rf"""\s*(?:[\[{{(]\s*["']|{CALLS}\s*["'\[{{(]|b(["']).*\1\s*\Z|[\[{{][^\]}}]*\Z"""
    rf"""|(?:[\[{{]|{CALLS})[^,;|]*[,;|].*[\]}})]\s*\Z|\([^()]*,[^()]*\)\s*\Z"""
    rf"""|(?:\[[-\d.\s]*\]|{{\s*}}|{CALLS}\s*\))\s*\Z)""",
    re.DOTALL,
)
# What is a list where every cell is one, and else may be a name: `[dog]`, `c(5)`.
_MAYBE_LIST = re.compile(rf"\s*(?:[\[{{].*[\]}}]|{CALLS}[-\d.\s]+\))\s*\Z", re.DOTALL)
_R_LIST = re.compile(r"\s*c\(")

# A label that would be read as something else in a cell that is no JSON list.
NEEDS_JSON = re.compile(
    rf"""\A[\[({{]|[|;,\r\n]|\A({"|".join(map(re.escape, sorted(MISSING)))})\Z|\Ab["']|\A{CALLS}"""
    r"|\A-?\d+\.0*\Z|\A[01][01.\s]*\Z"
)

_EMPTY = MISSING | {""}
_SLIP = 20  # times as many cells with another separator make one of the first a slip
_MOST_CELLS = 100_000  # different ones, that show whether blanks separate labels
_EXPLAINED = 0.9  # share of the words in cells of several that must occur as a whole cell
# Captions and names of several words have these; lists of labels do not.
_SMALL_WORDS = frozenset(("of", "the", "and", "with", "on", "an", "is", "for", "to", "or"))


@dataclass(frozen=True)
class Separator:
    """What stands between the labels in every cell of a file, and what to say about it.

    Attributes:
        text: the separator.
        notes: what to say.
        shown: the same where a cell shows it, `rules.WHOLE` where cells with blanks are one label.
    """

    text: str
    notes: tuple[str, ...] = ()
    shown: str = ""


def find_separator(
    cells: Iterable[tuple[int, str]],
    *,
    of: Path,
    separators: Sequence[str] = SEPARATORS,
    may_be_blank: bool = True,
    may_be_list: bool = True,
    least_cells: int = 1,
) -> Separator:
    """What separates the labels in cells.

    If one is a list, all are lists, but for single labels beside Label Studio's choices and R's
    `c()`; otherwise it is the first of `separators` that occurs in any. Where none occurs it may be
    the blank, see `blanks_separate`. Line breaks separate labels beside any of them.

    Raises:
        AnnotationError: the first separator occurs in hardly any of the cells, and another in many.

    Args:
        cells: each with its line.
        of: the file, for notes and the error.
        separators: those that come into question.
        may_be_blank: False where labels are known to be written with other separators.
        may_be_list: False where no cell is a list, whatever it looks like.
        least_cells: how many different cells it takes for the blank.
    """
    first_line: dict[str, int] = {}
    counts = dict.fromkeys(separators, 0)
    different = set[str]()
    may_be_all: bool | None = None  # whether all cells that are not empty may be lists
    for line, cell in cells:
        if may_be_list and LIST.match(cell):
            kind = _kind_of_list(cell)
            return Separator(kind, shown=kind)
        if may_be_list and may_be_all is not False and cell.strip() not in _EMPTY:
            may_be_all = bool(_MAYBE_LIST.match(cell))
        inside = [separator for separator in separators if separator in cell]
        for separator in inside:
            first_line.setdefault(separator, line)
        if inside:
            counts[inside[0]] += 1
        if not first_line and len(different) < _MOST_CELLS:
            different.update(cell.splitlines())
    if may_be_all:
        return Separator(JSON_LIST, shown=JSON_LIST)
    found = [separator for separator in separators if separator in first_line]
    if len(found) > 1:
        _check_common(found, counts, first_line, of)
        others = " and ".join(f"'{each}' (line {first_line[each]})" for each in found[1:])
        note = (
            f"labels are separated by '{found[0]}' (line {first_line[found[0]]}) in all of "
            f"{of.name}; {others} became part of labels; another separator can be given"
        )
        return Separator(found[0], (note,), found[0])
    if found or not may_be_blank:
        return Separator(found[0], shown=found[0]) if found else Separator(separators[0])
    return _blank_or(separators[0], different, least_cells)


def _kind_of_list(cell: str) -> str:
    if _R_LIST.match(cell):
        return R_TEXTS if '"' in cell or "'" in cell else R_NUMBERS
    return CHOICES if '"choices"' in cell else JSON_LIST


def _check_common(
    found: Sequence[str], counts: Mapping[str, int], lines: Mapping[str, int], of: Path
) -> None:
    """Raise AnnotationError where the first separator is a slip, and another separates labels."""
    usual = max(found, key=counts.__getitem__)
    times, others = counts[found[0]], counts[usual]
    if others >= _SLIP * times or (times == 1 and others > 1):
        message = (
            f"'{found[0]}' is in {times:,} of the lists of labels, and '{usual}' in {others:,} "
            "others; which separates labels?"
        )
        raise AnnotationError.at(of, lines[found[0]], message, hint="{separator} says it")


def _blank_or(other: str, cells: Collection[str], least: int) -> Separator:
    several = sorted(cell.strip() for cell in cells if len(cell.split()) > 1)
    if not several:
        return Separator(other)
    if len(cells) >= least and blanks_separate(cells):
        note = (
            f"labels are separated by blanks, as in '{several[0][:60]}'; a separator of '{other}' "
            "keeps such cells whole"
        )
        return Separator(BLANK, (note,), BLANK)
    note = f"'{several[0][:60]}' was read as one label; a separator of ' ' splits such cells"
    return Separator(other, (note,), WHOLE)


def blanks_separate(cells: Iterable[str]) -> bool:
    """Whether cells without any other separator are lists of words, not names of several words.

    Lists they are if a word in one of several words holds `_`, which people write where the blank
    separates; if nine tenths of the words in cells of several occur as a whole cell too; or if they
    recombine: every word occurs in several cells, there are more different cells than words, some
    of three words, and some that hold all words of another. Captions, which have words such as
    `the`, and cells that have a word twice are none.

    Example:
        >>> blanks_separate(["scab rust", "scab", "rust"]), blanks_separate(["teddy bear", "bear"])
        (True, False)
    """
    lists = {tuple(cell.split()) for cell in cells}
    several = {each for each in lists if len(each) > 1}
    counts = Counter(word for each in several for word in each)
    if not several or any(word.casefold() in _SMALL_WORDS for word in counts):
        return False
    if any(len(set(each)) < len(each) for each in several):
        return False
    if any("_" in word for word in counts):
        return True
    alone = sum(count for word, count in counts.items() if (word,) in lists)
    return alone >= _EXPLAINED * counts.total() or _recombine(lists, several, counts)


def _recombine(
    lists: set[tuple[str, ...]], several: set[tuple[str, ...]], counts: Counter[str]
) -> bool:
    seldom = sum(count == 1 and (word,) not in lists for word, count in counts.items())
    if seldom > (1 - _EXPLAINED) * len(counts) or len(several) <= len(counts):
        return False
    sets = {frozenset(each) for each in several}
    return any(len(each) > 2 and any(each - {word} in sets for word in each) for each in sets)
