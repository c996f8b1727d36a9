"""Holding out a part of the images so that every label keeps its share in both parts.

The iterative stratification of Sechidis, Tsoumakas and Vlahavas, "On the Stratification of
Multi-Label Data", ECML-PKDD 2011, for two parts, on sparse labels. Their algorithm hands out the
images of the rarest remaining label one by one, each to the part that still wants most of that
label. With two parts, how many go to each follows from what the parts want, so all the images of
a label are handed out at once; which ones is drawn with weights from their other labels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.group_split import hold_out_groups
from twlcli.errors import AnnotationError
from twlcli.labels import PRESENT, LabelMatrix

Rows = NDArray[np.int64]


def hold_out_images(annotations: Annotations, *, fraction: float, seed: int) -> Rows:
    """The rows of a stratified hold-out part of some images, ascending; no group lies in both.

    Drawn by the images' paths: in whatever order the same images come, the same ones are held out.

    Args:
        annotations: N images. An image of no group is one of its own.
        fraction: share of the images to hold out, between 0 and 1.
        seed: the same seed gives the same images.

    Raises:
        AnnotationError: as `hold_out`; or all images are of one group.
    """
    images = annotations.images
    order = np.array(sorted(range(len(images)), key=images.__getitem__), dtype=np.int64)
    labels = annotations.labels.select(order)
    _check(len(labels), fraction=fraction, seed=seed)
    if not annotations.groups:
        return np.sort(order[hold_out(labels, fraction=fraction, seed=seed)])
    groups = [
        (annotations.groups[row], "" if annotations.groups[row] else images[row]) for row in order
    ]
    return np.sort(order[hold_out_groups(labels, groups, fraction=fraction, seed=seed)])


def hold_out(labels: LabelMatrix, *, fraction: float, seed: int) -> Rows:
    """The rows of a stratified hold-out part, ascending.

    The part has round(fraction * N) images, at least 1 and at most N - 1. Images without labels
    are a stratum of their own; unknown labels count as absent. A label with two positives or more
    keeps at least one in each part, as far as the part's size allows.

    Args:
        labels: the matrix (N, C); never made dense.
        fraction: share of the images to hold out, between 0 and 1.
        seed: the same seed gives the same rows.

    Raises:
        AnnotationError: the fraction is not between 0 and 1, or there are fewer than two images.
    """
    _check(len(labels), fraction=fraction, seed=seed)
    size = min(max(round(fraction * len(labels)), 1), len(labels) - 1)
    split = _Split(labels, fraction=fraction, seed=seed)
    split.hand_out()
    split.keep_one_in_each_part()
    split.reach_size(size)
    return np.flatnonzero(split.held)


def _check(images: int, *, fraction: float, seed: int) -> None:
    if not 0 < fraction < 1:
        raise AnnotationError(f"hold-out fraction is {fraction}; expected between 0 and 1")
    if images < 2:
        raise AnnotationError(f"cannot hold out a part of {images} image; expected 2 or more")
    if seed < 0:
        raise AnnotationError(f"hold-out seed is {seed}; expected 0 or greater")


class _Split:
    """Which images are held out so far, and how many of each label are.

    Images without labels have one of their own, in column C.
    """

    def __init__(self, labels: LabelMatrix, *, fraction: float, seed: int) -> None:
        label_free = np.flatnonzero(labels.present_per_image() == 0)
        present = labels.values == PRESENT
        rows = np.repeat(np.arange(len(labels)), np.diff(labels.starts))[present]
        rows = np.concatenate((rows, label_free))
        columns = np.concatenate(
            (labels.columns[present], np.full(len(label_free), labels.label_count))
        )
        by_row = np.argsort(rows, kind="stable")
        by_label = np.argsort(columns, kind="stable")
        self.entry_rows: Rows = rows[by_row]
        self.entry_columns: Rows = columns[by_row]
        self.starts: Rows = np.searchsorted(self.entry_rows, np.arange(len(labels) + 1))
        self.totals: Rows = np.bincount(columns, minlength=labels.label_count + 1)
        self.rows_of_label = np.split(rows[by_label], np.cumsum(self.totals)[:-1])
        self.fraction = fraction
        self.rng = np.random.default_rng(seed)
        self.held = np.zeros(len(labels), dtype=np.bool_)
        self.held_totals = np.zeros_like(self.totals)

    def hand_out(self) -> None:
        """Hand out every image, those of the rarest remaining label first."""
        waiting = np.ones(len(self.held), dtype=np.bool_)
        remaining = self.totals.copy()
        tie_break = self.rng.random(len(remaining))
        while remaining.any():
            label = int(np.where(remaining > 0, remaining + tie_break, np.inf).argmin())
            rows = self.rows_of_label[label]
            rows = rows[waiting[rows]]
            wanted = self.fraction * self.totals - self.held_totals
            rows = self._draw_order(rows, wanted / np.maximum(remaining, 1))
            self._move(rows[: max(round(wanted[label]), 0)], hold=True)
            waiting[rows] = False
            remaining -= self._counts(rows)

    def _draw_order(self, rows: Rows, wanted_share: NDArray[np.float64]) -> Rows:
        """A random order in which those come early whose labels are still wanted most.

        Weighted sampling without replacement (Efraimidis and Spirakis, 2006); an image's weight
        is the product over its labels of the share of their remaining images that is wanted.
        """
        log_share = np.log(np.clip(wanted_share / self.fraction, 1e-3, 1e3))
        entries, lengths = self._entries(rows)
        weights = np.exp(
            np.add.reduceat(log_share[self.entry_columns[entries]], np.cumsum(lengths) - lengths)
        )
        return rows[np.argsort(self.rng.exponential(size=len(rows)) / weights)]

    def keep_one_in_each_part(self) -> None:
        """Move an image over for every label of two or more that one part has none of."""
        for hold in (True, False):
            for label in np.flatnonzero(self.totals >= 2):
                if self._totals_of_part(hold)[label] == 0:
                    self._move_best(self.rows_of_label[label], hold=hold)

    def reach_size(self, size: int) -> None:
        """Move images over until `size` are held out, those that mend the shares best first."""
        while excess := int(self.held.sum()) - size:
            hold = excess < 0
            self._move_best(self.rng.permutation(np.flatnonzero(self.held != hold)), hold=hold)

    def _move_best(self, rows: Rows, *, hold: bool) -> None:
        """Move the row that brings the labels' shares nearest to the fraction.

        The distance is the sum over labels of (held - fraction * total)^2 / total; a move that
        takes the last image of a label from its part comes after all that do not.
        """
        surplus = self.held_totals - self.fraction * self.totals
        change = (2 * surplus + 1 if hold else 1 - 2 * surplus) / np.maximum(self.totals, 1)
        is_last = (self._totals_of_part(not hold) == 1) & (self.totals >= 2)
        change = change + np.where(is_last, len(self.held), 0)
        cost = np.bincount(self.entry_rows, weights=change[self.entry_columns])
        self._move(rows[[cost[rows].argmin()]], hold=hold)

    def _move(self, rows: Rows, *, hold: bool) -> None:
        self.held[rows] = hold
        self.held_totals += self._counts(rows) if hold else -self._counts(rows)

    def _totals_of_part(self, hold: bool) -> Rows:
        return self.held_totals if hold else self.totals - self.held_totals

    def _counts(self, rows: Rows) -> Rows:
        """How many of these images have each label."""
        entries, _ = self._entries(rows)
        return np.bincount(self.entry_columns[entries], minlength=len(self.totals))

    def _entries(self, rows: Rows) -> tuple[Rows, Rows]:
        """The entries of these images one after another, and how many each has (1 or more)."""
        lengths = self.starts[rows + 1] - self.starts[rows]
        offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return np.repeat(self.starts[rows], lengths) + offsets, lengths
