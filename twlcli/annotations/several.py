"""Label files of several splits as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import normal_image
from twlcli.annotations.rules import check_rules
from twlcli.annotations.vocabulary import in_vocabulary
from twlcli.annotations.write import folder_prefix
from twlcli.errors import AnnotationError
from twlcli.labels import LabelMatrix, Vocabulary, some_of


def several_as_one(first: Annotations, others: Sequence[tuple[str, Annotations]]) -> Annotations:
    """The images of several label files, each file a split of its own.

    Images of `first` without a split are for training. A label that one of the files does not know
    is absent from its images, and a note says so.

    Args:
        first: the images to train on; its folder becomes that of all.
        others: the name of a split, and its images.

    Raises:
        AnnotationError: an image is in two of the files, or their cells mean different things.
    """
    rules = (*first.rules, *(rule for _, other in others for rule in other.rules))
    check_rules(rules)
    splits = tuple(split or "train" for split in first.splits)
    parts = [replace(first, splits=splits)]
    for split, other in others:
        prefix = folder_prefix(other.root, first.root)
        images = tuple(
            image if Path(image).is_absolute() else normal_image(prefix + image)
            for image in other.images
        )
        parts.append(replace(other, images=images, splits=(split,) * len(other)))
    _check_once(parts)
    vocabulary = _common(parts)
    notes = _notes(parts)
    for part in parts:
        if missing := [name for name in vocabulary if name not in part.vocabulary]:
            notes.append(
                f"labels that {part.source} does not know are absent from its images: "
                f"{some_of(missing)}"
            )
    has_groups = any(part.groups for part in parts)
    files, file_rows = _places(parts)
    lines = np.concatenate([_lines(part) for part in parts])
    return replace(
        first,
        images=tuple(image for part in parts for image in part.images),
        labels=LabelMatrix.stacked([in_vocabulary(part, vocabulary).labels for part in parts]),
        vocabulary=vocabulary,
        splits=tuple(split for part in parts for split in part.splits),
        groups=tuple(g for part in parts for g in part.groups or ("",) * len(part))
        if has_groups
        else (),
        lines=lines if lines.any() else None,
        files=files,
        file_rows=file_rows,
        notes=tuple(dict.fromkeys(notes)),
        rules=rules,
    )


def _notes(parts: Sequence[Annotations]) -> list[str]:
    """The notes of all; those that are not of each with the name of their file."""
    shared = set.intersection(*(set(part.notes) for part in parts))
    return [
        note if note in shared else f"{part.source}: {note}"
        for part in parts
        for note in part.notes
    ]


def _check_once(parts: Sequence[Annotations]) -> None:
    seen: dict[str, Annotations] = {}
    for part in parts:
        for row, image in enumerate(part.images):
            before = seen.setdefault(image, part)
            if before is not part:
                message = f"image '{image}' is in {before.source} too; a split shares no image"
                raise AnnotationError.at(*part.place(row), message)


def _common(parts: Sequence[Annotations]) -> Vocabulary:
    """The vocabulary of all where it is one; else all labels, sorted."""
    first = parts[0].vocabulary
    if all(part.vocabulary == first for part in parts):
        return first
    return Vocabulary(tuple(sorted({name for part in parts for name in part.vocabulary})))


def _places(parts: Sequence[Annotations]) -> tuple[tuple[Path, ...], NDArray[np.int32]]:
    """The label files, and in which of them each image stands."""
    files: list[Path] = []
    rows = []
    for part in parts:
        own = np.zeros(len(part)) if part.file_rows is None else part.file_rows
        rows.append((own + len(files)).astype(np.int32))
        files += part.files or (part.source,)
    return tuple(files), np.concatenate(rows)


def _lines(part: Annotations) -> NDArray[np.int64]:
    return np.zeros(len(part), dtype=np.int64) if part.lines is None else part.lines
