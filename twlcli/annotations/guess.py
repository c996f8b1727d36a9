"""Guessing which columns of a table hold images and labels, to ask whether they are meant."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from twlcli.annotations.columns import CELL_VALUES, MISSING
from twlcli.images.image_file import is_image

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
    for place, name in enumerate(header):
        cells = [cell for row in sample if (cell := row[place].strip()) and cell not in MISSING]
        words = [word for cell in cells for word in _BETWEEN.split(cell) if word]
        if not name or place in taken or len(set(words)) in (0, 1, len(words)):
            continue
        if all(cell in CELL_VALUES for cell in cells):
            continue
        is_called_so = bool(_LIKE_LABELS.search(name))
        has_lists = any("|" in cell or ";" in cell for cell in cells)
        if is_called_so or has_lists or not all(map(_is_number, words)):
            found.append((not is_called_so, not has_lists, place))
    return min(found)[-1] if found else None


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
