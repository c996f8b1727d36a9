"""What every label file is read into."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.categories import Categories
from twlcli.annotations.names import Names
from twlcli.annotations.rules import Rules
from twlcli.errors import AnnotationError
from twlcli.labels import LabelMatrix, Vocabulary

SPLITS_TO_SET = {"train": "train_split", "val": "validation_split"}  # keys of a recipe


@dataclass(frozen=True)
class Annotations:
    """N images with their labels.

    Attributes:
        source: the label file or folder that was read; named in error messages.
        format: the name of the format it was read as, such as `csv` or `voc`.
        root: the folder that `images` are relative to.
        images: N paths relative to `root`, with forward slashes (absolute where the file says so).
        labels: the matrix (N, C) of present, absent and unknown labels.
        vocabulary: the C label names.
        splits: N split names such as `train` and `val`; an empty string where the file names none.
        groups: N names of what the images belong to, such as a patient; an empty string is of no
            group. Empty where groups are not known.
        unlisted: labels of the vocabulary that the label file does not know, of which its images
            say nothing; see `vocabulary.with_vocabulary`. Entries of the matrix are 0.
        lines: N line numbers in `source`, counted from 1; None where the format has no lines.
        files: the label files in which `lines` count, where `source` is a folder of several.
        file_rows: N indices into `files`; None where `source` is the one file.
        notes: what a reader decided that the user may want to know, one sentence each.
        rules: what the cells of each file were found to mean; see `several.several_as_one`.
    """

    source: Path
    format: str
    root: Path
    images: Sequence[str]
    labels: LabelMatrix
    vocabulary: Vocabulary
    splits: Sequence[str]
    groups: Sequence[str] = ()
    unlisted: tuple[str, ...] = ()
    lines: NDArray[np.int64] | None = None
    files: tuple[Path, ...] = ()
    file_rows: NDArray[np.int32] | None = None
    notes: tuple[str, ...] = ()
    rules: tuple[Rules, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def with_note(self, note: str) -> Annotations:
        """The same, and one more sentence for the user to know."""
        return replace(self, notes=(*self.notes, note))

    def records(self) -> list[dict[str, Any]]:
        """One dictionary per image: `image` (its path, str), `labels`, `unknown` and `split`.

        Where groups are known, `group` too.

        `labels` and `unknown` are tuples of names in the order of the vocabulary; labels in neither
        are absent. `pandas.DataFrame(annotations.records())` makes a table of them.
        """
        names = self.vocabulary.names
        return [
            {
                "image": str(self.path(row)),
                "labels": tuple(names[column] for column in self.labels.present(row)),
                "unknown": tuple(names[column] for column in self.labels.unknown(row)),
                "split": self.splits[row],
                **({"group": self.groups[row]} if self.groups else {}),
            }
            for row in range(len(self))
        ]

    def path(self, index: int) -> Path:
        """Where image `index` lies."""
        return self.root / self.images[index]

    def line(self, index: int) -> int | None:
        """The line of its label file that describes image `index`, if the format has lines."""
        return None if self.lines is None else int(self.lines[index]) or None

    def place(self, index: int) -> tuple[Path, int | None]:
        """The label file and line that describe image `index`, for error messages."""
        file = self.source if self.file_rows is None else self.files[self.file_rows[index]]
        return file, self.line(index)

    def group_numbers(self) -> NDArray[np.int64]:
        """The groups as numbers (N,), -1 for an image of none; all where groups are not known."""
        if not self.groups:
            return np.full(len(self), -1)
        groups = Categories.of(self.groups)
        return np.where(groups.are_in({""}), -1, groups.numbers).astype(np.int64)

    def select(self, rows: NDArray[np.integer] | Sequence[int]) -> Annotations:
        """Some of the images, in the order given."""
        rows = np.asarray(rows).astype(np.int64)
        return replace(
            self,
            images=Names.of(self.images).select(rows),
            labels=self.labels.select(rows),
            splits=Categories.of(self.splits).select(rows),
            groups=Categories.of(self.groups).select(rows) if self.groups else (),
            lines=None if self.lines is None else self.lines[rows],
            file_rows=None if self.file_rows is None else self.file_rows[rows],
        )

    def split_names(self) -> tuple[str, ...]:
        """The splits that occur, in order of first appearance."""
        return tuple(filter(None, Categories.of(self.splits).different()))

    def has_split(self, name: str) -> bool:
        """Whether some image is in a split, or in one of several."""
        return any(each is not None for _, each in self._splits_called(name))

    def split(self, name: str) -> Annotations:
        """The images of one split, or of several with commas between; `all` is every image.

        A number stands for the fold of that number where no split is called so.

        Raises:
            AnnotationError: no image is in that split; lists those there are.
        """
        return self if name == "all" else self.select(self.rows_in(name))

    def rows_in(self, name: str) -> NDArray[np.int64]:
        """The rows of the images of one split, or of several; as `split`."""
        wanted = set()
        for part, split in self._splits_called(name):
            if split is None:
                there = ", ".join(self.split_names()) or "none; only 'all'"
                message = f"no image is in split '{part}' (splits: {there})"
                if name in SPLITS_TO_SET and self.split_names():
                    message += f"; data.{SPLITS_TO_SET[name]} of the recipe names others"
                raise AnnotationError(f"{self.source}: {message}")
            wanted.add(split)
        return np.flatnonzero(Categories.of(self.splits).are_in(wanted))

    def _splits_called(self, name: str) -> list[tuple[str, str | None]]:
        """Each name in a list with the split that is called so; None where there is none."""
        names = self.split_names()
        parts = [name] if name in names else [part.strip() for part in name.split(",")]
        return [(part, split_called(part, names)) for part in parts]


def split_called(name: str, names: Collection[str]) -> str | None:
    """The split of that name, or the fold of that number; None where there is neither.

    Example:
        >>> [split_called(name, ("train", "fold 3")) for name in ("train", "3", "4")]
        ['train', 'fold 3', None]
    """
    if name in names:
        return name
    return f"fold {name}" if name.isdecimal() and f"fold {name}" in names else None
