"""Annotations with the labels of another vocabulary."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import normal_label
from twlcli.errors import AnnotationError, UnknownLabelError, did_you_mean
from twlcli.labels import PRESENT, LabelMatrix, Vocabulary, some_of


def with_vocabulary(
    annotations: Annotations, vocabulary: Vocabulary, *, ignore_unknown: bool = False
) -> Annotations:
    """The same annotations with the columns of another vocabulary.

    Labels of `vocabulary` that the annotations do not know are `unlisted`.

    Args:
        annotations: the images.
        vocabulary: the labels in their order.
        ignore_unknown: leave out labels outside `vocabulary`, with a note.

    Raises:
        AnnotationError: a label outside `vocabulary` is present in an image; names the first. Or
            no label is in both.
    """
    if annotations.vocabulary == vocabulary:
        return annotations
    unlisted = tuple(name for name in vocabulary if name not in annotations.vocabulary)
    if ignore_unknown:
        annotations = _without_unknown(annotations, vocabulary)
    labels = annotations.labels
    known = np.array([name in vocabulary for name in annotations.vocabulary], dtype=np.bool_)
    outside = np.flatnonzero(~known[labels.columns] & (labels.values == PRESENT))
    if len(outside):
        name = annotations.vocabulary.names[labels.columns[outside[0]]]
        row = int(np.searchsorted(labels.starts, outside[0], side="right")) - 1
        try:
            vocabulary.column(name)
        except AnnotationError as error:
            raise UnknownLabelError.at(*annotations.place(row), str(error)) from None
    return replace(in_vocabulary(annotations, vocabulary), unlisted=unlisted)


def _without_unknown(annotations: Annotations, vocabulary: Vocabulary) -> Annotations:
    unknown = [name for name in annotations.vocabulary if name not in vocabulary]
    if not unknown:
        return annotations
    if len(unknown) == len(annotations.vocabulary):
        raise AnnotationError(
            f"{annotations.source}: none of its labels ({some_of(unknown)}) is one of the model's "
            f"({some_of(vocabulary.names)})"
        )
    note = f"labels that the model does not know were left out: {some_of(unknown)}"
    annotations = without_labels(annotations, unknown)
    return replace(annotations, notes=(*annotations.notes, note))


def without_labels(
    annotations: Annotations, names: Collection[str], *, must_occur: bool = True
) -> Annotations:
    """The same annotations without some labels.

    Raises:
        AnnotationError: with `must_occur` one of them is not there, or no label is left.
    """
    ignored = {normal_label(name) for name in ([names] if isinstance(names, str) else names)}
    vocabulary = annotations.vocabulary
    for name in sorted(ignored - set(vocabulary)) if must_occur else ():
        hint = did_you_mean(name, vocabulary)
        raise AnnotationError(f"{annotations.source}: there is no label '{name}' to ignore{hint}")
    kept = tuple(name for name in vocabulary if name not in ignored)
    if not kept:
        raise AnnotationError(f"{annotations.source}: no label is left")
    return in_vocabulary(annotations, Vocabulary(kept))


def in_vocabulary(annotations: Annotations, vocabulary: Vocabulary) -> Annotations:
    """The annotations with the columns of `vocabulary`; entries of other labels are dropped."""
    labels = annotations.labels
    column_of = {name: column for column, name in enumerate(vocabulary)}
    order = np.array([column_of.get(name, -1) for name in annotations.vocabulary], dtype=np.int32)
    columns = order[labels.columns]
    rows = np.repeat(np.arange(len(labels)), np.diff(labels.starts))
    kept = np.flatnonzero(columns >= 0)
    kept = kept[np.lexsort((columns[kept], rows[kept]))]
    starts = np.concatenate(([0], np.cumsum(np.bincount(rows[kept], minlength=len(labels)))))
    matrix = LabelMatrix(
        starts.astype(np.int64), columns[kept], labels.values[kept], len(vocabulary)
    )
    return replace(annotations, labels=matrix, vocabulary=vocabulary)
