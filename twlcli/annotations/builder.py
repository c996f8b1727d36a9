"""Gathering rows of a label file into Annotations, one at a time."""

from __future__ import annotations

import os
import re
import unicodedata
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.categories import Categories
from twlcli.annotations.names import Names
from twlcli.annotations.rules import Rules, check_rules, notes_of_columns
from twlcli.errors import AnnotationError
from twlcli.labels import (
    MOST_LABELS,
    PRESENT,
    UNKNOWN,
    LabelMatrix,
    Vocabulary,
    why_no_label,
)

# What people call the three parts; any other split name is kept as it is written.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "eval": "val",
    "evaluation": "val",
    "holdout": "val",
    "test": "test",
    "testing": "test",
}

_ROWS_SORTED = 1 << 18  # at a time

_WHOLE = re.compile(r"(-?\d+)\.0*")


# Windows tells a server who the user is as soon as a path on it is looked at.
_WINDOWS = os.name == "nt"
_SHARE = ("//", "\\\\", "/\\", "\\/")


def normal_label(text: str) -> str:
    """A label as twl compares it: without space around it, in Unicode normal form C."""
    return unicodedata.normalize("NFC", text.strip())


def normal_image(path: str) -> str:
    """A path without `.` in it: `./a.jpg` is `a.jpg`."""
    return "/".join(part for part in path.split("/") if part != ".") if "./" in path else path


def on_share(images: Iterable[str]) -> bool:
    """Whether a path leads to another machine as soon as it is looked at."""
    return _WINDOWS and any(image.startswith(_SHARE) for image in images)


def normal_split(text: str) -> str:
    """A split name as twl compares it; `validation` and `Val` are `val`, `fold 3` stays."""
    text = text.strip()
    return SPLIT_NAMES.get(text.casefold(), text)


def normal_splits(text: str) -> str:
    """Names of splits with commas between, each as twl compares it.

    Example:
        >>> normal_splits("fold 0, Validation")
        'fold 0,val'
    """
    return ",".join(map(normal_split, text.split(",")))


class _Whole(NamedTuple):
    """Images with their splits and groups, in blocks of memory."""

    images: Names
    splits: Categories
    groups: Categories


class AnnotationBuilder:
    """Collects images with their labels, in flat arrays so that a million rows stay small."""

    def __init__(self, source: Path, *, format_name: str, root: Path) -> None:
        self.source = source
        self.format_name = format_name
        self.root = root
        self.notes: dict[str, None] = {}  # in order, each once
        self.whole_numbers = False  # whether a label `7.0` is the number 7
        self._noted_whole = False
        self.rules: list[Rules] = []  # of each file
        self.duplicate_hint = ""  # what to do about an image with two rows
        self._files: list[Path] = []
        self._row_of: dict[str, int] = {}
        self._lines = array("q")
        self._file_rows = array("i")
        self._splits: list[str] = []
        self._groups: list[str] = []
        self._whole: _Whole | None = None  # of a file that was added at once
        self._split_names: dict[str, str] = {}
        self._starts = array("q", [0])
        self._columns = array("i")
        self._values = array("b")
        self._column_of_text: dict[str, int | None] = {}
        self._column_of_name: dict[str, int] = {}
        self._declared: tuple[str, ...] | None = None
        self._declared_at: tuple[Path, int | None] = (source, None)

    def __len__(self) -> int:
        return len(self._file_rows)

    @property
    def label_count(self) -> int:
        """How many labels have a provisional column so far."""
        return len(self._column_of_name)

    def label(self, column: int) -> str:
        """The label of a provisional column."""
        return list(self._column_of_name)[column]

    def begin_file(self, path: Path) -> None:
        """Say that the rows that follow stand in `path`, one of several files of `source`."""
        self._files.append(path)

    def note(self, sentence: str) -> None:
        """Keep something for the user to know; a sentence said before is not repeated."""
        self.notes[" ".join(sentence.split())] = None

    def whole(self, text: str) -> str:
        """`7.0` as `7`, with a note; any other text as it is.

        pandas writes whole numbers so where some are missing, and one label is not two.
        """
        found = _WHOLE.fullmatch(text.strip())
        if not found:
            return text
        if not self._noted_whole:
            self._noted_whole = True
            example = f"'{found[0]}' as {found[1]}"
            self.note(f"whole numbers were read without their fraction, as {example}")
        return found[1]

    def column(self, text: str) -> int | None:
        """The provisional column of a label as it is written; None for an empty one.

        Raises:
            AnnotationError: it is no text, as the name of a folder may be.
        """
        if text not in self._column_of_text:
            name = normal_label(self.whole(text) if self.whole_numbers else text)
            if wrong := why_no_label(name):
                raise AnnotationError(f"{self._file()}: {wrong}")
            if len(self._column_of_name) >= MOST_LABELS:
                raise AnnotationError(
                    f"{self._file()}: names more than {MOST_LABELS:,} different labels"
                )
            if name:
                self._column_of_name.setdefault(name, len(self._column_of_name))
            self._column_of_text[text] = self._column_of_name.get(name)
        return self._column_of_text[text]

    def columns(self, texts: Iterable[str]) -> tuple[int, ...]:
        """The provisional columns of labels as they are written, each once, empty ones dropped."""
        known = self._column_of_text
        found = dict.fromkeys([known[t] if t in known else self.column(t) for t in texts])
        return tuple([column for column in found if column is not None])

    def declare(self, names: Iterable[str], *, line: int | None) -> None:
        """Fix the vocabulary and its order, as the file itself gives them.

        Raises:
            AnnotationError: another row gave a different vocabulary.
        """
        declared = tuple(normal_label(name) for name in names)
        if self._declared is not None and declared != self._declared:
            message = "the vocabulary differs from that on " + self._name(*self._declared_at)
            raise AnnotationError.at(self._file(), line, message)
        if self._declared is None:
            self._declared, self._declared_at = declared, (self._file(), line)

    def add(
        self,
        image: str,
        present: Sequence[int],
        unknown: Sequence[int] = (),
        *,
        split: str = "",
        group: str = "",
        line: int | None = None,
    ) -> None:
        """Add one image with the columns of its present and unknown labels.

        Raises:
            AnnotationError: no path, a path that was added before, or a label that is both
                present and unknown.
        """
        row = len(self._splits)
        if "./" in image:
            image = normal_image(image)
        first_row = self._row_of.setdefault(image, row)
        if first_row != row:
            first = self._name(*self._place(first_row))
            message = f"image '{image}' is already on {first}; each image may have only one row"
            raise AnnotationError.at(self._file(), line, message, hint=self.duplicate_hint)
        if not image:
            raise AnnotationError.at(self._file(), line, "the image's path is empty")
        if _WINDOWS and image.startswith(_SHARE):
            message = f"image '{image}' is on a network share, which a label file does not open"
            hint = "give the share a drive letter, and name the folder with {images}"
            raise AnnotationError.at(self._file(), line, message, hint=hint)
        self._columns.extend(present)
        self._values.extend([PRESENT] * len(present))
        if unknown:
            if both := set(present).intersection(unknown):
                name = self.label(both.pop())
                message = f"label '{name}' is both present and unknown"
                raise AnnotationError.at(self._file(), line, message)
            self._columns.extend(unknown)
            self._values.extend([UNKNOWN] * len(unknown))
        self._starts.append(len(self._columns))
        self._lines.append(line or 0)
        self._file_rows.append(len(self._files) - 1)
        if split not in self._split_names:
            self._split_names[split] = normal_split(split)
        self._splits.append(self._split_names[split])
        self._groups.append(group)

    def add_all(
        self,
        images: Names,
        starts: NDArray[np.int64],
        columns: NDArray[np.int32],
        *,
        splits: Categories,
        groups: Categories,
        lines: NDArray[np.int64],
    ) -> None:
        """Add all N images of the only file at once.

        Args:
            images: their paths as `normal_image` gives them, each once.
            starts: (N + 1,), where the labels of each begin in `columns`.
            columns: provisional columns of the present labels, in any order; those that an image
                has twice count once.
            splits: N names as `normal_split` gives them.
            groups: N names.
            lines: (N,) line numbers.
        """
        self._whole = _Whole(images, splits, groups)
        self._starts = array("q", starts.tobytes())
        self._columns = array("i", columns.tobytes())
        self._values = array("b", np.full(len(columns), PRESENT, dtype=np.int8).tobytes())
        self._lines = array("q", lines.tobytes())
        self._file_rows = array("i", np.full(len(lines), -1, dtype=np.int32).tobytes())

    def finish(self) -> Annotations:
        """The annotations; labels stand in the declared order, or sorted by name without one.

        Raises:
            AnnotationError: no image was added, a label is not in the declared vocabulary, or two
            files were read by different rules.
        """
        if not len(self):
            raise AnnotationError(f"{self.source}: names no image; expected an entry for each")
        check_rules(self.rules)
        for note in notes_of_columns(self.rules):
            self.note(note)
        gathered = self._whole or _Whole(
            Names.of(self._row_of), Categories.of(self._splits), Categories.of(self._groups)
        )
        without = int(gathered.splits.are_in({""}).sum())
        if 0 < without < len(self):
            self.note(f"images that are not used because they name no split: {without:,}")
        vocabulary = self._vocabulary()
        column_of = dict(zip(vocabulary, range(len(vocabulary)), strict=True))
        order = np.array([column_of[name] for name in self._column_of_name], dtype=np.int32)
        lines = np.array(self._lines, dtype=np.int64)
        return Annotations(
            source=self.source,
            format=self.format_name,
            root=self.root,
            images=gathered.images,
            labels=self._matrix(order, len(vocabulary)),
            vocabulary=vocabulary,
            splits=gathered.splits,
            groups=gathered.groups if any(gathered.groups.different()) else (),
            lines=lines if lines.any() else None,
            files=tuple(self._files),
            file_rows=np.array(self._file_rows, dtype=np.int32) if self._files else None,
            notes=tuple(self.notes),
            rules=tuple(self.rules),
        )

    def _vocabulary(self) -> Vocabulary:
        if self._declared is None:
            return Vocabulary(tuple(sorted(self._column_of_name)))
        place = self._declared_at
        try:
            vocabulary = Vocabulary(self._declared)
            for name, column in self._column_of_name.items():
                if name not in vocabulary:
                    place = self._first_place(column)
                vocabulary.column(name)
        except AnnotationError as error:
            raise AnnotationError.at(*place, str(error)) from None
        return vocabulary

    def _matrix(self, order: NDArray[np.int32], label_count: int) -> LabelMatrix:
        starts = np.array(self._starts, dtype=np.int64)
        columns = order[np.array(self._columns, dtype=np.int32)]
        values = np.array(self._values, dtype=np.int8)
        lengths = np.diff(starts)
        is_first = np.ones(len(columns), dtype=np.bool_)
        for first in range(0, len(lengths), _ROWS_SORTED):
            some = slice(first, first + _ROWS_SORTED)
            entries = slice(starts[first], starts[some][-1] + lengths[some][-1])
            # One number for row, column and value, as sorting numbers is what is fast.
            keys = np.repeat(np.arange(len(lengths[some])), lengths[some]) * label_count
            keys = 2 * (keys + columns[entries]) + (values[entries] == PRESENT)
            keys.sort()
            columns[entries] = (keys >> 1) % max(label_count, 1)
            values[entries] = np.where(keys & 1, PRESENT, UNKNOWN)
            is_first[entries][1:] = keys[1:] != keys[:-1]
        if not is_first.all():
            starts = np.concatenate(([0], np.cumsum(is_first)))[starts]
            columns, values = columns[is_first], values[is_first]
        return LabelMatrix(starts, columns, values, label_count)

    def _first_place(self, column: int) -> tuple[Path, int | None]:
        entries = np.flatnonzero(np.array(self._columns, dtype=np.int32) == column)
        if not len(entries):  # named only as absent
            return self.source, None
        starts = np.array(self._starts, dtype=np.int64)
        return self._place(int(np.searchsorted(starts, entries[0], side="right")) - 1)

    def _file(self) -> Path:
        return self._files[-1] if self._files else self.source

    def _place(self, row: int) -> tuple[Path, int | None]:
        file = self._files[self._file_rows[row]] if self._files else self.source
        return file, self._lines[row] or None

    def _name(self, file: Path, line: int | None) -> str:
        here = "" if file == self._file() else f" of {file}"
        return f"line {line}{here}" if line is not None else f"another line{here}"
