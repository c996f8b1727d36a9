"""Holding out whole groups of images, such as all those of a patient.

A group goes to one part or the other. Greedily, as scikit-learn's StratifiedGroupKFold does it: the
groups are handed out from the largest to the smallest, each to the part that then has shares of
labels and images nearer to those wanted; afterwards single groups change parts as long as that
brings them nearer still.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from twlcli.errors import AnnotationError
from twlcli.labels import PRESENT, LabelMatrix

Rows = NDArray[np.int64]

_PASSES = 5  # over all groups; two are enough as a rule


def hold_out_groups(
    labels: LabelMatrix, groups: Sequence[Hashable], *, fraction: float, seed: int
) -> Rows:
    """The rows of a hold-out part that parts no group, ascending.

    The part has near `fraction` of the images and of each label, as far as the groups allow. A
    label that occurs in two groups or more has one in each part, as far as the part's size allows.

    Args:
        labels: the matrix (N, C); never made dense.
        groups: N names; which group comes first does not matter, which row does not either.
        fraction: share of the images to hold out, between 0 and 1.
        seed: the same seed gives the same rows.

    Raises:
        AnnotationError: there is one group only.
    """
    names = sorted(set(groups), key=repr)
    if len(names) < 2:
        raise AnnotationError(f"all {len(labels)} images are of one group, so none can be held out")
    number_of = {name: number for number, name in enumerate(names)}
    numbers = np.array([number_of[name] for name in groups], dtype=np.int64)
    parts = _Parts(labels, numbers, fraction=fraction)
    parts.hand_out(np.random.default_rng(seed))
    parts.improve()
    parts.keep_one_in_each_part()
    parts.reach_size()
    return np.flatnonzero(parts.held[numbers])


class _Parts:
    """Which groups are held out so far.

    Counted are labels, in columns 0 to C - 1, images without labels, in column C, and all images,
    in column C + 1. The distance from what is wanted is the sum over columns of
    weight * (held - fraction * total)^2 with the weight 1 / total; for all images it is that of all
    other columns together, so that the part has its size.
    """

    def __init__(self, labels: LabelMatrix, numbers: Rows, *, fraction: float) -> None:
        images, width = len(labels), labels.label_count + 2
        present = labels.values == PRESENT
        rows = np.repeat(np.arange(images), np.diff(labels.starts))[present]
        free = np.flatnonzero(labels.present_per_image() == 0)
        rows = np.concatenate((rows, free, np.arange(images)))
        columns = np.concatenate(
            (
                labels.columns[present],
                np.full(len(free), width - 2),
                np.full(images, width - 1),
            )
        )
        keys, counts = np.unique(numbers[rows] * width + columns, return_counts=True)
        self.groups = int(numbers.max()) + 1
        self.columns: Rows = keys % width
        self.counts = counts.astype(np.float64)
        self.starts: Rows = np.searchsorted(keys // width, np.arange(self.groups + 1))
        self.sizes = self.counts[self.starts[1:] - 1]  # the last column of a group is all images
        self.totals = np.zeros(width)
        np.add.at(self.totals, self.columns, self.counts)
        self.in_groups = np.bincount(self.columns, minlength=width)
        occurring = self.totals > 0
        self.weights = np.where(occurring, 1 / np.maximum(self.totals, 1), 0)
        self.weights[-1] *= max(int(occurring.sum()) - 1, 1)
        self.fraction = fraction
        self.held = np.zeros(self.groups, dtype=np.bool_)
        self.held_counts = np.zeros(width)
        self.held_groups = np.zeros(width, dtype=np.int64)

    def hand_out(self, rng: np.random.Generator) -> None:
        """Decide for each group, the largest first, by what was handed out before it."""
        order = rng.permutation(self.groups)
        seen = np.zeros_like(self.totals)
        for group in order[np.argsort(-self.sizes[order], kind="stable")]:
            columns, counts = self._entries(group)
            seen[columns] += counts
            if self._change(columns, counts, self.fraction * seen[columns]) < 0:
                self._move(group)

    def improve(self) -> None:
        """Move groups that bring the shares nearer to those wanted."""
        for _ in range(_PASSES):
            moved = False
            for group in range(self.groups):
                if self._gain(group) > 1e-12 and not self._empties(group):
                    self._move(group)
                    moved = True
            if not moved:
                break

    def keep_one_in_each_part(self) -> None:
        """Move a group over for every label of two or more groups that one part has none of."""
        wanted = np.flatnonzero(self.in_groups >= 2)
        for column in wanted[np.argsort(self.in_groups[wanted], kind="stable")]:
            for hold in (True, False):
                count = self.held_groups[column]
                if (count if hold else self.in_groups[column] - count) == 0:
                    having = np.searchsorted(
                        self.starts, np.flatnonzero(self.columns == column), side="right"
                    )
                    self._move(self._best(having - 1))

    def reach_size(self) -> None:
        """Move groups over as long as that brings the part nearer to its size.

        Those that are not the last of a label in their part first. No part becomes empty.
        """
        wanted = self.fraction * self.totals[-1]
        while True:
            excess = self.held_counts[-1] - wanted
            beyond = np.flatnonzero(self.held if excess > 0 else ~self.held)
            nearer = beyond[self.sizes[beyond] < 2 * abs(excess)]
            if not len(nearer) or len(beyond) < 2:
                return
            self._move(self._best(nearer))

    def _best(self, groups: Rows) -> int:
        """The group whose move leaves the fewest labels without one, and the best shares."""
        return int(max(groups, key=lambda each: (-self._empties(each), self._gain(each))))

    def _gain(self, group: int) -> float:
        """By how much the distance falls when the group changes its part."""
        columns, counts = self._entries(group)
        if self.held[group]:
            counts = -counts
        return -self._change(columns, counts, self.fraction * self.totals[columns])

    def _change(
        self, columns: Rows, counts: NDArray[np.float64], wanted: NDArray[np.floating]
    ) -> float:
        """By how much the distance rises when counts are added to those held."""
        surplus = self.held_counts[columns] - wanted
        return float((self.weights[columns] * counts * (2 * surplus + counts)).sum())

    def _empties(self, group: int) -> int:
        """Of how many columns the group is the last in its part, though others have them too."""
        columns, _ = self._entries(group)
        held, every = self.held_groups[columns], self.in_groups[columns]
        beside = held if self.held[group] else every - held
        return int(((beside == 1) & (every >= 2)).sum())

    def _move(self, group: int) -> None:
        columns, counts = self._entries(group)
        sign = -1 if self.held[group] else 1
        self.held_counts[columns] += sign * counts
        self.held_groups[columns] += sign
        self.held[group] = not self.held[group]

    def _entries(self, group: int) -> tuple[Rows, NDArray[np.float64]]:
        entries = slice(self.starts[group], self.starts[group + 1])
        return self.columns[entries], self.counts[entries]
