"""Label names and the sparse matrix that says which image has which label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from twlcli.errors import AnnotationError, did_you_mean

PRESENT, ABSENT, UNKNOWN = 1, 0, -1
NAMES_SHOWN = 5  # of a list that may be long
NO_TEXT = "is not valid text (undecodable bytes, a lone surrogate or NUL)"
MOST_LABELS = 1_000_000  # of a label file
LONGEST = 10_000  # characters of a label; a caption has hundreds


def some_of(names: Sequence[str]) -> str:
    """The first of the names, and how many more there are.

    Example:
        >>> some_of(["a", "b", "c", "d", "e", "f", "g"])
        'a, b, c, d, e and 2 more'
    """
    more = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def counted(count: int, one: str, many: str) -> str:
    """A count with the words that fit it.

    Example:
        >>> counted(1, "image is missing", "images are missing")
        '1 image is missing'
        >>> counted(1200, "image is missing", "images are missing")
        '1,200 images are missing'
    """
    return f"{count:,} {one if count == 1 else many}"


def is_text(label: str) -> bool:
    r"""Whether a label can stand in every kind of file.

    Example:
        >>> [is_text(label) for label in ("dog", "caf\udce9", "a\0b")]
        [True, False, False]
    """
    try:
        return b"\0" not in label.encode()
    except UnicodeEncodeError:
        return False


def why_no_label(name: str) -> str:
    r"""What is wrong with a label; empty where nothing is.

    Example:
        >>> why_no_label("dog"), why_no_label("x" * 20_000)
        ('', "label 'xxxxxxxxxxxxxxxxxxxxxxxx…' has 20,000 characters, more than 10,000")
    """
    if len(name) > LONGEST:
        shown = ascii(name[:24])[1:-1]
        return f"label '{shown}…' has {len(name):,} characters, more than {LONGEST:,}"
    return "" if is_text(name) else f"label {name!a} {NO_TEXT}"


@dataclass(frozen=True)
class Vocabulary:
    """The C label names of a data set or model, in the order of its columns."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self._column) != len(self.names):
            twice = next(name for row, name in enumerate(self.names) if self._column[name] != row)
            raise AnnotationError(f"label '{twice}' is in the vocabulary twice")
        if "" in self._column:
            raise AnnotationError("a label of the vocabulary is empty")
        longest = max(map(len, self.names), default=0)
        if longest > LONGEST or not is_text("".join(self.names)):
            raise AnnotationError(next(filter(None, map(why_no_label, self.names))))

    @cached_property
    def _column(self) -> dict[str, int]:
        return {name: column for column, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._column

    def column(self, name: str) -> int:
        """The column of a label.

        Raises:
            AnnotationError: the label is not in the vocabulary; names the nearest one.
        """
        try:
            return self._column[name]
        except KeyError:
            hint = did_you_mean(name, self.names)
            raise AnnotationError(f"label '{name}' is not in the vocabulary{hint}") from None


@dataclass(frozen=True)
class LabelMatrix:
    """An (N, C) matrix of 1 present, 0 absent, -1 unknown, stored as sparse rows.

    Row `i` holds the entries `columns[starts[i]:starts[i + 1]]` with the `values` 1 or -1 beside
    them; every other entry is 0. A million images with five labels each take 33 MB.
    """

    starts: NDArray[np.int64]  # (N + 1,)
    columns: NDArray[np.int32]  # (entries,)
    values: NDArray[np.int8]  # (entries,)
    label_count: int

    @classmethod
    def from_dense(cls, targets: NDArray[np.integer]) -> LabelMatrix:
        """Build the matrix from dense targets (N, C) of 1, 0 and -1."""
        rows, columns = np.nonzero(targets)
        starts = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=len(targets)))))
        values = targets[rows, columns].astype(np.int8)
        return cls(starts.astype(np.int64), columns.astype(np.int32), values, targets.shape[1])

    @classmethod
    def stacked(cls, matrices: Sequence[LabelMatrix]) -> LabelMatrix:
        """Matrices (N1, C), (N2, C), ... below each other."""
        lengths = np.concatenate([np.diff(matrix.starts) for matrix in matrices])
        return cls(
            np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
            np.concatenate([matrix.columns for matrix in matrices]),
            np.concatenate([matrix.values for matrix in matrices]),
            matrices[0].label_count,
        )

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """(N images, C labels)."""
        return len(self), self.label_count

    def row(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
        """The columns of one image that are not 0, ascending, and their values 1 or -1."""
        entries = slice(self.starts[index], self.starts[index + 1])
        return self.columns[entries], self.values[entries]

    def present(self, index: int) -> NDArray[np.int32]:
        """The columns of the labels present in one image, ascending."""
        columns, values = self.row(index)
        present: NDArray[np.int32] = columns[values == PRESENT]
        return present

    def unknown(self, index: int) -> NDArray[np.int32]:
        """The columns of the labels unknown in one image, ascending."""
        columns, values = self.row(index)
        unknown: NDArray[np.int32] = columns[values == UNKNOWN]
        return unknown

    def select(self, rows: NDArray[np.integer] | Sequence[int]) -> LabelMatrix:
        """The matrix of some images, in the order given."""
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) == len(self) and (rows == np.arange(len(self))).all():
            return self
        lengths = np.diff(self.starts)[rows]
        starts = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        entries = np.arange(starts[-1]) + np.repeat(self.starts[rows] - starts[:-1], lengths)
        return LabelMatrix(starts, self.columns[entries], self.values[entries], self.label_count)

    def dense(self, rows: NDArray[np.integer] | Sequence[int] | None = None) -> NDArray[np.int8]:
        """Dense targets (n, C) int8 of some images, or of all."""
        part = self if rows is None else self.select(rows)
        targets = np.zeros(part.shape, dtype=np.int8)
        targets[np.repeat(np.arange(len(part)), np.diff(part.starts)), part.columns] = part.values
        return targets

    def present_columns(self) -> NDArray[np.int32]:
        """The columns of the labels present in each image, those of one image after another's."""
        return self.columns if self._all_present() else self.columns[self.values == PRESENT]

    def present_per_label(self) -> NDArray[np.int64]:
        """How many images have each label, (C,)."""
        return np.bincount(self.present_columns(), minlength=self.label_count)

    def unknown_per_label(self) -> NDArray[np.int64]:
        """In how many images each label is unknown, (C,)."""
        return np.bincount(self.columns[self.values == UNKNOWN], minlength=self.label_count)

    def absent_per_label(self) -> NDArray[np.int64]:
        """From how many images each label is known to be absent, (C,)."""
        return len(self) - self.present_per_label() - self.unknown_per_label()

    def present_per_image(self) -> NDArray[np.int64]:
        """How many labels each image has, (N,)."""
        lengths = np.diff(self.starts)
        if self._all_present():
            return lengths
        rows = np.repeat(np.arange(len(self)), lengths)
        return np.bincount(rows[self.values == PRESENT], minlength=len(self))

    def _all_present(self) -> bool:
        """Whether no label is unknown in any image, as is so in most data."""
        return bool((self.values == PRESENT).all())
