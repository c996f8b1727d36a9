"""Labels that occur only with another, or never with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twlcli.labels import PRESENT, LabelMatrix

# Of all pairs of a vocabulary together, so often would chance alone have one be said.
BY_CHANCE = 0.05


@dataclass(frozen=True)
class Pair:
    """Two labels, by their columns.

    Attributes:
        first: the one.
        second: the other; where one implies the other, the implied.
        images: how many the statement rests on.
    """

    first: int
    second: int
    images: int


@dataclass(frozen=True)
class Together:
    """How labels occur with each other.

    Attributes:
        always: pairs that are present in the same images exactly.
        implies: pairs whose first is present only where the second is, and not the other way.
        never: pairs of which no image has both; `images` is how many would by chance.
    """

    always: tuple[Pair, ...]
    implies: tuple[Pair, ...]
    never: tuple[Pair, ...]


def find_together(labels: LabelMatrix) -> Together:
    """Find labels that always or never occur together, beyond what chance explains.

    That one of two labels is present in all k images of the other where it is known would come
    about with share^k, were they independent, with its share of all images where it is known; that
    they never meet with exp(-expected), with the images that would have both. Said are those pairs
    for which that is at most 0.05 / (C (C - 1)), so that chance alone seldom has any be said. Where
    no image has two labels, that two never meet is not said of any.

    Args:
        labels: the matrix (N, C); takes time and memory in proportion to its entries times the
            labels of an image, never (C, C).
    """
    present, unknown = labels.present_per_label(), labels.unknown_per_label()
    share = present / np.maximum(len(labels) - unknown, 1)
    one_each = int(labels.present_per_image().max(initial=0)) <= 1
    implied: dict[tuple[int, int], int] = {}
    never = []
    rare = BY_CHANCE / max(labels.label_count * (labels.label_count - 1), 1)
    for first, both, unclear in _counts_with_each(labels):
        known = present[first] - unclear
        holds = (both == known) & (known > 0) & (share**known <= rare)
        for second in np.flatnonzero(holds):
            if second != first:
                implied[first, int(second)] = int(both[second])
        expected = known * share
        apart = (both == 0) & (np.exp(-expected) <= rare)
        if not one_each:
            never += [
                Pair(first, int(second), round(expected[second]))
                for second in np.flatnonzero(apart)
                if second > first
            ]
    always = [
        Pair(*pair, images)
        for pair, images in implied.items()
        if pair[0] < pair[1] and pair[::-1] in implied
    ]
    implies = [Pair(*pair, images) for pair, images in implied.items() if pair[::-1] not in implied]
    return Together(*(tuple(sorted(pairs, key=_by_images)) for pairs in (always, implies, never)))


def _by_images(pair: Pair) -> tuple[int, int, int]:
    return -pair.images, pair.first, pair.second


def _counts_with_each(
    labels: LabelMatrix,
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """For each label that occurs: in how many of its images each is present and unknown, (C,)."""
    rows = np.repeat(np.arange(len(labels)), np.diff(labels.starts))
    present = np.flatnonzero(labels.values == PRESENT)
    order = present[np.argsort(labels.columns[present], kind="stable")]
    ends = np.cumsum(labels.present_per_label())
    for column, having in enumerate(np.split(rows[order], ends[:-1])):
        if len(having):
            part = labels.select(having)
            yield column, part.present_per_label(), part.unknown_per_label()
