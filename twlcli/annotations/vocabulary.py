"""Annotations with the labels of another vocabulary."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import numpy as np

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import normal_label
from twlcli.errors import AnnotationError, UnknownLabelError, did_you_mean
from twlcli.labels import PRESENT, LabelMatrix, Vocabulary, some_of
from twlcli.xmp.keywords import key

_NAMED = 8  # labels in a sentence
_SHOWN = 60  # characters of each


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
    return annotations.with_note(note)


def with_spelling_of(annotations: Annotations, vocabulary: Vocabulary) -> Annotations:
    """The same annotations with labels spelled as in a vocabulary, where only letter case differs.

    Labels stay as they are where two of them would become one.
    """
    known = {key(name): name for name in vocabulary}
    names = tuple(
        name if name in vocabulary else known.get(key(name), name)
        for name in annotations.vocabulary
    )
    if len(set(names)) < len(names):
        return annotations
    return replace(annotations, vocabulary=Vocabulary(names))


def without_rare_labels(annotations: Annotations, minimum: int) -> Annotations:
    """The same annotations without the labels that fewer than `minimum` images have.

    Raises:
        AnnotationError: no label is left.
    """
    counts = _counts(annotations)
    rare = {name: count for name, count in counts.items() if count < minimum}
    if not rare:
        return annotations
    kept = tuple(name for name in annotations.vocabulary if name not in rare)
    if not kept:
        raise AnnotationError(
            f"{annotations.source}: no label is in {minimum:,} images; there are "
            f"{_most_frequent(rare)}",
            hint="{min_images} takes a lower number",
        )
    found = _most_frequent(rare)
    note = f"labels left out because fewer than {minimum:,} images have them: {found}"
    return in_vocabulary(annotations, Vocabulary(kept)).with_note(note)


def _counts(annotations: Annotations) -> dict[str, int]:
    """In how many images each label is present."""
    counts = annotations.labels.present_per_label().tolist()
    return dict(zip(annotations.vocabulary, counts, strict=True))


def _most_frequent(counts: Mapping[str, int]) -> str:
    """How many labels there are, and the most frequent of them.

    >>> _most_frequent({"cat": 1, "dog": 2})
    '2 (dog 2, cat 1)'
    """
    first = sorted(counts, key=lambda name: (-counts[name], name))[:_NAMED]
    named = ", ".join(f"{name[:_SHOWN]} {counts[name]:,}" for name in first)
    more = ", …" if len(counts) > len(first) else ""
    return f"{len(counts):,} ({named}{more})"


def without_labels(
    annotations: Annotations, names: Collection[str], *, must_occur: bool = True
) -> Annotations:
    """The same annotations without some labels.

    Args:
        annotations: the annotations.
        names: the labels. One that is none may be a pattern of several: `*` stands for any
            characters, `?` for one.
        must_occur: whether each has to be there.

    Raises:
        AnnotationError: with `must_occur` one of them is not there, or no label is left.
    """
    vocabulary = annotations.vocabulary
    ignored = set[str]()
    for name in sorted({normal_label(each) for each in _listed(names)}):
        found = [name] if name in vocabulary else _matching(name, vocabulary)
        if must_occur and not found:
            hint = did_you_mean(name, vocabulary)
            message = f"there is no label '{name}' to ignore{hint}"
            raise AnnotationError(f"{annotations.source}: {message}")
        ignored.update(found)
    kept = tuple(name for name in vocabulary if name not in ignored)
    if not kept:
        raise AnnotationError(f"{annotations.source}: no label is left")
    return in_vocabulary(annotations, Vocabulary(kept))


def _listed(names: Collection[str]) -> Collection[str]:
    return [names] if isinstance(names, str) else names


def _matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that a pattern with `*` and `?` matches; none where it has neither.

    >>> _matching("People*", ["People", "People|Ann", "dog"]), _matching("[d]og", ["dog"])
    (['People', 'People|Ann'], [])
    """
    wild = {"*": ".*", "?": "."}
    if not wild.keys() & set(pattern):
        return []
    regex = re.compile("".join(wild.get(each) or re.escape(each) for each in pattern), re.DOTALL)
    return [name for name in names if regex.fullmatch(name)]


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
