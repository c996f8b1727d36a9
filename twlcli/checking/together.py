"""Labels that occur only with another, or never with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twlcli.labels import PRESENT, LabelMatrix

# Of all pairs of a vocabulary together, so often would chance alone have one be said.
BY_CHANCE = 0.05

_MOST_STEPS = 500_000_000  # pairs of labels at images that are looked at; some twenty seconds
_MOST_PAIRS = 1_000_000  # more of them help nobody


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


def find_together(labels: LabelMatrix) -> Together | None:
    """Find labels that always or never occur together, beyond what chance explains.

    That one of two labels is present in all k images of the other where it is known would come
    about with share^k, were they independent, with its share of all images where it is known; that
    they never meet with exp(-expected), with the images that would have both. Said are those pairs
    for which that is at most 0.05 / (C (C - 1)), so that chance alone seldom has any be said. Where
    no image has two labels, that two never meet is not said of any.

    Args:
        labels: the matrix (N, C); takes time and memory in proportion to its entries times the
            labels of an image, never (C, C).

    Returns:
        None where that would take too long, or far too many pairs never meet.
    """
    at_images = np.diff(labels.starts)
    if int((labels.present_per_image() * at_images).sum()) > _MOST_STEPS:
        return None
    present, unknown = labels.present_per_label(), labels.unknown_per_label()
    share = present / np.maximum(len(labels) - unknown, 1)
    rare = BY_CHANCE / max(labels.label_count * (labels.label_count - 1), 1)
    one_each = int(labels.present_per_image().max(initial=0)) <= 1
    common = np.argsort(-share, kind="stable")  # the most common first
    rarity, surprise = -share[common], -np.log(rare) * (1 - 1e-9)
    least_share = share[present > 0].min(initial=1.0)
    # Of a label with few images chance explains all: none is rare enough, none common enough.
    told = present * max(-np.log(least_share), share.max(initial=0.0)) >= surprise
    implied: dict[tuple[int, int], int] = {}
    never: list[Pair] = []
    for first, others, both, unclear in _counts_with_others(labels, told):
        known = present[first] - unclear
        holds = (both == known) & (known > 0) & (share[others] ** known <= rare)
        for place in np.flatnonzero(holds):
            if others[place] != first:
                implied[first, int(others[place])] = int(both[place])
        if one_each:
            continue
        # At most present[first] * share would have both; the rest is not common enough.
        least = surprise / present[first]
        apart = common[: np.searchsorted(rarity, -least, side="right")]
        apart = np.sort(apart[apart > first])
        where = np.minimum(np.searchsorted(others, apart), max(len(others) - 1, 0))
        is_other = others[where] == apart
        expected = (present[first] - np.where(is_other, unclear[where], 0)) * share[apart]
        meets = is_other & (both[where] > 0)
        for place in np.flatnonzero(~meets & (np.exp(-expected) <= rare)):
            never.append(Pair(first, int(apart[place]), round(expected[place])))
        if len(never) > _MOST_PAIRS:
            return None
    always = [
        Pair(*pair, images)
        for pair, images in implied.items()
        if pair[0] < pair[1] and pair[::-1] in implied
    ]
    implies = [Pair(*pair, images) for pair, images in implied.items() if pair[::-1] not in implied]
    return Together(*(tuple(sorted(pairs, key=_by_images)) for pairs in (always, implies, never)))


def _by_images(pair: Pair) -> tuple[int, int, int]:
    return -pair.images, pair.first, pair.second


Counts = NDArray[np.int64]


def _counts_with_others(
    labels: LabelMatrix, told: NDArray[np.bool_]
) -> Iterator[tuple[int, Counts, Counts, Counts]]:
    """For some labels: those at their images, and in how many each is present, and unknown."""
    rows = np.repeat(np.arange(len(labels)), np.diff(labels.starts))
    present = np.flatnonzero(labels.values == PRESENT)
    order = present[np.argsort(labels.columns[present], kind="stable")]
    counts = labels.present_per_label()
    ends = np.cumsum(counts)
    for column in np.flatnonzero(told & (counts > 0)):
        part = labels.select(rows[order[ends[column] - counts[column] : ends[column]]])
        if len(part.columns) > labels.label_count // 8:  # counting is faster than sorting
            both, unclear = part.present_per_label(), part.unknown_per_label()
            others = np.flatnonzero(both + unclear)
            yield int(column), others, both[others], unclear[others]
            continue
        others, places = np.unique(part.columns, return_inverse=True)
        is_present = part.values == PRESENT
        both = np.bincount(places[is_present], minlength=len(others))
        unclear = np.bincount(places[~is_present], minlength=len(others))
        yield int(column), others.astype(np.int64), both, unclear
