"""Guessing which columns of a table hold images and labels, to ask whether they are meant."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from twlcli.annotations.marks import MISSING, first_fraction, is_mark
from twlcli.images.image_file import is_image

_NAMED = 3  # words of a column in a message
_TRIED = 20  # cells that are looked for as files
_LIKE_LABELS = re.compile(r"label|tag|class|categor|target|finding|diagnos|species|disease", re.I)
_BETWEEN = re.compile(r"[|;,\s]+")

Sample = Sequence[Sequence[str]]


def guess_image(header: Sequence[str], sample: Sample, root: Path) -> int | None:
    """The first column most of whose cells are names of images, or of files below `root`."""
    named = [place for place, name in enumerate(header) if name]
    for is_one, rows in ((is_image, sample), (_exists_in(root), sample[:_TRIED])):
        for place in named:
            cells = [cell for row in rows if (cell := row[place].strip())]
            if cells and 2 * sum(map(is_one, cells)) > len(cells):
                return place
    return None


def guess_labels(header: Sequence[str], sample: Sample, taken: Sequence[int | None]) -> int | None:
    """The column whose words repeat: by its name, because it holds lists, or the first of text."""
    found: list[tuple[bool, bool, int]] = []
    unlike = {place for place, _ in _unlike_marks(header, sample)}
    for place, name in enumerate(header):
        if place in unlike:
            continue
        cells = _cells(sample, place)
        words = [word for cell in cells for word in _BETWEEN.split(cell) if word]
        if not name or place in taken or len(set(words)) in (0, 1, len(words)):
            continue
        if all(map(is_mark, cells)):
            continue
        is_called_so = bool(_LIKE_LABELS.search(name))
        has_lists = any("|" in cell or ";" in cell for cell in cells)
        if is_called_so or has_lists or not all(map(_is_number, words)):
            found.append((not is_called_so, not has_lists, place))
    return min(found)[-1] if found else None


def wrong_marks(header: Sequence[str], sample: Sample) -> str:
    """What columns of a label each hold instead of 1 and 0; empty where none looks like one."""
    found = next(_unlike_marks(header, sample), None)
    if found is None:
        return ""
    place, values = found
    named = ", ".join(f"'{value}'" for value in values[:_NAMED])
    return f"; column '{header[place]}' holds {named}, and 1 and 0 were expected"


def _unlike_marks(header: Sequence[str], sample: Sample) -> Iterator[tuple[int, list[str]]]:
    """Columns of fractions, and several columns of the same two or three words, with these."""
    columns = {place: _cells(sample, place) for place, name in enumerate(header) if name}
    words = {place: frozenset(cells) for place, cells in columns.items()}
    shared = Counter(each for each in words.values() if 1 < len(each) <= _NAMED)
    for place, cells in columns.items():
        if fraction := first_fraction(cells):
            yield place, [fraction]
        elif shared[words[place]] > 1 and not all(map(is_mark, cells)):
            yield place, sorted(words[place])


def _cells(sample: Sample, place: int) -> list[str]:
    return [cell for row in sample if (cell := row[place].strip()) and cell not in MISSING]


def question(header: Sequence[str], *, image: int | None, labels: int | None) -> tuple[str, str]:
    """A question whether columns are meant, and the hint that says so; empty without a guess.

    Example:
        >>> question(("Image Index", "Finding"), image=0, labels=None)
        ("; is 'Image Index' the image?", "{image_column} 'Image Index'")
    """
    roles = [("image", "image_column", image), ("labels", "labels_column", labels)]
    guessed = [(what, option, header[at]) for what, option, at in roles if at is not None]
    if not guessed:
        return "", ""
    asked = " and ".join(f"'{name}' the {what}" for what, _, name in guessed)
    hint = " ".join(f"{{{option}}} {shlex.quote(name)}" for _, option, name in guessed)
    return f"; is {asked}?", hint


def _exists_in(root: Path) -> Callable[[str], bool]:
    def exists(cell: str) -> bool:
        return os.path.isfile(root / cell)  # noqa: PTH113  False for what is no path

    return exists


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
