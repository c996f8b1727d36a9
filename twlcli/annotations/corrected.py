"""Labels with what somebody who looked at the images says of some of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from glob import escape as glob_escape
from itertools import islice
from pathlib import Path

import numpy as np

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import normal_image
from twlcli.annotations.corrections import Correction, read_corrections
from twlcli.annotations.names import Names
from twlcli.errors import AnnotationError, did_you_mean
from twlcli.images.image_file import is_image
from twlcli.labels import (
    PRESENT,
    UNKNOWN,
    LabelMatrix,
    Vocabulary,
    counted,
    some_of,
    why_no_label,
)

_SO_LIKE = 0.81  # a label this like a known one is that one, mistyped


def corrected(annotations: Annotations, path: Path) -> Annotations:
    """The annotations with the corrections of a file.

    Images that the annotations lack, and that are there, come with what the corrections say of
    them; of their other labels nothing is known. Where images have splits, they are for training.
    A label that the annotations lack is added where it is present in some image, and unknown in all
    others; where it is never present, what is said of it is left out.

    Args:
        annotations: of any images.
        path: see `read_corrections`.

    Raises:
        AnnotationError: it cannot be read, names an image that is neither in the annotations nor a
            file, or a label that one of theirs is hardly different from.
    """
    corrections = _by_row_names(read_corrections(path), annotations)
    new_labels, left_out = _new_labels(corrections, annotations)
    annotations = _with_labels(annotations, new_labels)
    rows = {image: row for row, image in enumerate(annotations.images)}
    new = _new_images(corrections, rows, annotations)
    old = len(annotations)
    annotations = _with_images(annotations, new)
    rows.update({image: old + place for place, image in enumerate(new)})
    changes = {
        (rows[each.image], annotations.vocabulary.column(each.label)): each.value
        for each in corrections
        if each.label not in left_out
    }
    labels, changed = _changed(annotations.labels, changes)
    annotations = replace(annotations, labels=labels)
    of_old = sum(row < old for row, _ in changes)
    known = sum(value != UNKNOWN for (row, _), value in changes.items() if row >= old)
    notes = []
    if new_labels:
        notes.append(
            f"labels that {annotations.source} lacks are added, and unknown where nothing is said "
            f"of them: {some_of(new_labels)}"
        )
    if left_out:
        notes.append(
            f"labels that {annotations.source} lacks and that are nowhere present are left out: "
            f"{some_of(sorted(left_out))}"
        )
    if new:
        notes.append(
            f"{counted(len(new), 'image is', 'images are')} added, with {known / len(new):.1f} of "
            f"{counted(len(annotations.vocabulary), 'label', 'labels')} known of each"
        )
    if of_old or not new:
        notes.append(
            f"{changed - known:,} of {counted(of_old, 'correction', 'corrections')} changed a label"
        )
    for note in notes:
        annotations = annotations.with_note(f"{path}: {note}")
    return annotations


def _by_row_names(corrections: Sequence[Correction], annotations: Annotations) -> list[Correction]:
    """The corrections with the names that the annotations have for the images."""
    known = set(annotations.images)
    root = os.path.abspath(annotations.root)  # noqa: PTH100  links stay
    names: dict[str, str] = {}

    def name_of(image: str) -> str:
        image = normal_image(image)
        if image in known or (image[0] != "/" and ".." not in image):
            return image
        place = os.path.normpath(os.path.join(root, image))  # noqa: PTH118  Path keeps ..
        inside = place.removeprefix(root + os.sep).replace(os.sep, "/")
        return inside if inside in known else image

    found: dict[tuple[str, str], Correction] = {}
    for each in corrections:
        if each.image not in names:
            names[each.image] = name_of(each.image)
        own = replace(each, image=names[each.image])
        before = found.setdefault((own.image, own.label), own)
        if before.value != own.value:
            message = f"label '{each.label}' of image '{each.image}' has another verdict before"
            raise AnnotationError.at(each.file, each.line, message)
    return list(found.values())


def _new_labels(
    corrections: Sequence[Correction], annotations: Annotations
) -> tuple[list[str], set[str]]:
    """Labels that the annotations lack: those that are present somewhere, and the others."""
    present: dict[str, None] = {}
    others: set[str] = set()
    for each in corrections:
        if each.label in annotations.vocabulary:
            continue
        if each.value == PRESENT:
            present[each.label] = None
        if each.label in others:  # looked at already
            continue
        others.add(each.label)
        if why := why_no_label(each.label):
            raise AnnotationError.at(each.file, each.line, why)
        if like := did_you_mean(each.label, annotations.vocabulary.names, like=_SO_LIKE):
            raise AnnotationError.at(
                each.file,
                each.line,
                f"there is no label '{each.label}' in {annotations.source}{like}",
            )
    return list(present), others - present.keys()


def _with_labels(annotations: Annotations, new: Sequence[str]) -> Annotations:
    """The annotations with more labels, of which nothing is known."""
    if not new:
        return annotations
    labels = annotations.labels
    count = labels.label_count
    columns = np.arange(count, count + len(new), dtype=np.int32)
    places = np.repeat(labels.starts[1:], len(new))
    more = LabelMatrix(
        labels.starts + len(new) * np.arange(len(labels.starts)),
        np.insert(labels.columns, places, np.tile(columns, len(labels))),
        np.insert(labels.values, places, np.int8(UNKNOWN)),
        count + len(new),
    )
    vocabulary = Vocabulary((*annotations.vocabulary.names, *new))
    return replace(annotations, labels=more, vocabulary=vocabulary)


def _new_images(
    corrections: Sequence[Correction], rows: Mapping[str, int], annotations: Annotations
) -> tuple[str, ...]:
    """The images that are not among the annotated, in their order."""
    new: dict[str, None] = {}
    for each in corrections:
        if each.image in rows or each.image in new:
            continue
        if not is_image(each.image):
            raise AnnotationError.at(each.file, each.line, f"'{each.image}' is no image")
        if not (annotations.root / each.image).is_file():
            raise AnnotationError.at(
                each.file,
                each.line,
                f"there is no image '{each.image}' in {annotations.source}, and no such file in "
                f"{annotations.root}{_nearby(each.image, annotations)}",
            )
        new[each.image] = None
    return tuple(new)


def _nearby(image: str, annotations: Annotations) -> str:
    """What may have been meant: the only file of that name below, or an image so called."""
    below = list(islice(annotations.root.glob(f"*/{glob_escape(image)}"), 2))
    if len(below) == 1:
        name = below[0].relative_to(annotations.root).as_posix()
        return f"; images are named from there, as '{name}' is"
    return did_you_mean(image, annotations.images)


def _with_images(annotations: Annotations, images: tuple[str, ...]) -> Annotations:
    """The annotations with more images, of which nothing is known; for training, if need be."""
    if not images:
        return annotations
    nothing = np.full((len(images), len(annotations.vocabulary)), UNKNOWN, dtype=np.int8)
    split = "train" if annotations.split_names() else ""
    lines, files = annotations.lines, annotations.file_rows
    return replace(
        annotations,
        images=Names.of(annotations.images).with_more(images),
        labels=LabelMatrix.stacked([annotations.labels, LabelMatrix.from_dense(nothing)]),
        splits=(*annotations.splits, *((split,) * len(images))),
        groups=(*annotations.groups, *(("",) * len(images))) if annotations.groups else (),
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
