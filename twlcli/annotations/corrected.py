"""Labels with what somebody who looked at the images says of some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import normal_image
from twlcli.annotations.corrections import Correction, read_corrections
from twlcli.errors import AnnotationError, did_you_mean
from twlcli.labels import UNKNOWN, LabelMatrix


def corrected(annotations: Annotations, path: Path) -> Annotations:
    """The annotations with the corrections of a file.

    Images that the annotations lack, and that are there, come with what the corrections say of
    them; of their other labels nothing is known. Where images have splits, they are for training.

    Args:
        annotations: with all labels that the file names.
        path: see `read_corrections`.

    Raises:
        AnnotationError: it cannot be read, or names a label that is not in the annotations, or an
            image that is neither there nor a file.
    """
    corrections = read_corrections(path)
    rows = {image: row for row, image in enumerate(annotations.images)}
    new = _new_images(corrections, rows, annotations)
    before = annotations
    annotations = _with_images(annotations, new)
    rows.update({image: len(rows) + place for place, image in enumerate(new)})
    changes = {}
    for each in corrections:
        if each.label not in annotations.vocabulary:
            hint = did_you_mean(each.label, annotations.vocabulary.names)
            raise AnnotationError.at(
                each.file,
                each.line,
                f"there is no label '{each.label}' in {annotations.source}{hint}",
            )
        row = rows[normal_image(each.image)]
        changes[row, annotations.vocabulary.column(each.label)] = each.value
    labels, changed = _changed(annotations.labels, changes)
    annotations = replace(annotations, labels=labels)
    old = sum(row < len(before) for row, _ in changes)
    if new:
        known = sum(value != UNKNOWN for (row, _), value in changes.items() if row >= len(before))
        annotations = annotations.with_note(
            f"{path}: {len(new):,} images are added, with {known / len(new):.1f} labels each that "
            "are known; the others are unknown"
        )
        changed -= known
    if not old and new:
        return annotations
    return annotations.with_note(f"{path}: {changed:,} of {old:,} corrections change a label")


def _new_images(
    corrections: Sequence[Correction], rows: Mapping[str, int], annotations: Annotations
) -> tuple[str, ...]:
    """The images that are not among the annotated, in their order."""
    new: dict[str, None] = {}
    for each in corrections:
        image = normal_image(each.image)
        if image in rows or image in new:
            continue
        if not (annotations.root / image).is_file():
            hint = did_you_mean(image, annotations.images)
            raise AnnotationError.at(
                each.file,
                each.line,
                f"there is no image '{each.image}' in {annotations.source}, and no such file in "
                f"{annotations.root}{hint}",
            )
        new[image] = None
    return tuple(new)


def _with_images(annotations: Annotations, images: tuple[str, ...]) -> Annotations:
    """The annotations with more images, of which nothing is known; for training, if need be."""
    if not images:
        return annotations
    nothing = np.full((len(images), len(annotations.vocabulary)), UNKNOWN, dtype=np.int8)
    split = "train" if annotations.split_names() else ""
    lines, files = annotations.lines, annotations.file_rows
    return replace(
        annotations,
        images=annotations.images + images,
        labels=LabelMatrix.stacked([annotations.labels, LabelMatrix.from_dense(nothing)]),
        splits=annotations.splits + (split,) * len(images),
        groups=annotations.groups + ("",) * len(images) if annotations.groups else (),
        lines=None if lines is None else np.append(lines, np.zeros(len(images), lines.dtype)),
        file_rows=None if files is None else np.append(files, np.zeros(len(images), files.dtype)),
    )


def _changed(
    labels: LabelMatrix, changes: Mapping[tuple[int, int], int]
) -> tuple[LabelMatrix, int]:
    """The matrix with some entries set, and how many of them were another value before."""
    if not changes:
        return labels, 0
    entries = np.array([*changes], dtype=np.int64)
    rows, places = np.unique(entries[:, 0], return_inverse=True)
    before = labels.dense(rows)
    after = before.copy()
    after[places, entries[:, 1]] = list(changes.values())
    new = LabelMatrix.from_dense(after)
    order = np.arange(len(labels))
    order[rows] = len(labels) + np.arange(len(rows))
    return LabelMatrix.stacked([labels, new]).select(order), int((before != after).sum())
