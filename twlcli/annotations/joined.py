"""Rows of a table that describe an image together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from twlcli.annotations.builder import AnnotationBuilder, normal_image, normal_split
from twlcli.errors import AnnotationError

NOTE_OF_DISPUTES = "labels that not all annotators of an image named were read as unknown"


@dataclass
class _Joined:
    line: int
    split: str
    group: str
    present: set[int] = field(default_factory=set)
    absent: set[int] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)
    votes: Counter[int] = field(default_factory=Counter)
    rows: int = 0


class JoinedRows:
    """Collects the rows of every image, for a builder."""

    def __init__(
        self,
        builder: AnnotationBuilder,
        path: Path,
        *,
        others_unknown: bool = False,
        by_annotators: bool = False,
    ) -> None:
        """Begin with no image.

        Args:
            builder: where the images go.
            path: the table, for error messages.
            others_unknown: whether labels that no row of an image names are unknown in it, not
                absent.
            by_annotators: whether each row is what one annotator says: a label that some of them
                name and others do not is unknown.
        """
        self._builder = builder
        self._path = path
        self._others_unknown = others_unknown
        self._by_annotators = by_annotators
        self._rows: dict[str, _Joined] = {}

    def add(
        self,
        image: str,
        present: Sequence[int] = (),
        unknown: Sequence[int] = (),
        *,
        absent: Sequence[int] = (),
        split: str = "",
        group: str = "",
        line: int,
    ) -> None:
        """Add a row, as to a builder.

        Raises:
            AnnotationError: another row of the image names another split or group.
        """
        row = self._rows.setdefault(normal_image(image), _Joined(line, split, group))
        if normal_split(row.split) != normal_split(split):
            message = (
                f"image '{image}' is in split '{split}', and in '{row.split}' on line {row.line}"
            )
            raise AnnotationError.at(self._path, line, message)
        if row.group != group:
            message = (
                f"image '{image}' is in group '{group}', and in '{row.group}' on line {row.line}"
            )
            raise AnnotationError.at(self._path, line, message)
        if self._by_annotators:
            row.votes.update(set(present))
            row.rows += 1
        row.present.update(present)
        row.absent.update(absent)
        row.unknown.update(unknown)

    def finish(self) -> None:
        """Give every image to the builder. What is present in one row is, whatever others say.

        Raises:
            AnnotationError: a label is present in one row of an image and absent in another.
        """
        every = set(range(self._builder.label_count))
        for image, row in self._rows.items():
            if both := row.present & row.absent:
                name = self._builder.label(min(both))
                message = f"label '{name}' is present in a row of image '{image}' and absent in one"
                raise AnnotationError.at(self._path, row.line, message)
            unknown = every - row.absent if self._others_unknown else row.unknown
            if disputed := {each for each, votes in row.votes.items() if votes < row.rows}:
                row.present -= disputed
                unknown = unknown | disputed
                self._builder.note(NOTE_OF_DISPUTES)
            self._builder.add(
                image,
                sorted(row.present),
                sorted(unknown - row.present),
                split=row.split,
                group=row.group,
                line=row.line,
            )
